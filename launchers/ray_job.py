"""A training script on a Ray cluster, by its jobs API, or on this machine. Copy this file beside your script.

    python ray_job.py train.py --lr 0.1                                    here, in a Ray that the script starts
    python ray_job.py --address http://head:8265 train.py --lr 0.1         on a cluster (or RAY_API_SERVER_ADDRESS)

The script calls ray.init() without an address: that finds the cluster it was submitted to, and starts a Ray of its own
elsewhere. Trials are runs by @disttrack.integrations.ray.trainable, workers are ranks by its setup().

On a cluster this directory is uploaded and unpacked on the nodes (leave large files out of it: `.rayignore`), and each
DISTTRACK_* variable of this shell is set there. DISTTRACK_DIR says where runs are kept: an absolute path on the head
node; without it, the storage path of the experiment. What the script prints is printed here, too, and its exit code is
ours; Ctrl-C leaves it running (`ray job stop ID` ends it). Where the cluster wants a token, it is taken from where all
of Ray's tools take it: RAY_AUTH_MODE=token with RAY_AUTH_TOKEN or ~/.ray/auth_token.

ray_cluster.yaml starts such a cluster on machines that you reach by ssh.
"""

import argparse
import asyncio
import os
import shlex
import sys
import time

from ray.job_submission import JobSubmissionClient


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a training script on a Ray cluster, or here.")
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_API_SERVER_ADDRESS"),
        help="of the cluster's dashboard, as http://head:8265 (default: RAY_API_SERVER_ADDRESS; neither: run here)",
    )
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="of the script")
    args = parser.parse_args()
    command = [args.script, *args.arguments]
    if not args.address:
        os.execv(sys.executable, [sys.executable, *command])
    return submit(args.address, shlex.join(["python", *command]))


def submit(address: str, command: str) -> int:
    """Run a command on a cluster, print what it prints, and return its exit code; 1 where it has none."""
    client = JobSubmissionClient(address)
    variables = {name: value for name, value in os.environ.items() if name.startswith("DISTTRACK_")}
    job = submitted(client, command, {"working_dir": ".", "env_vars": variables})
    print(f"{job} runs on {address}: {command}", flush=True)
    asyncio.run(follow(client, job))
    while not client.get_job_status(job).is_terminal():  # its last line comes before its end
        time.sleep(1)
    details = client.get_job_info(job)
    code = 1 if details.driver_exit_code is None else details.driver_exit_code
    print(f"{job} {details.status.lower()}, exit code {code}", flush=True)
    return code


def submitted(client: JobSubmissionClient, command: str, runtime_env: dict[str, object]) -> str:
    """Submit a command and return the job's id; a cluster that has just started may take none for a while."""
    deadline = time.monotonic() + 120
    while True:
        try:
            return client.submit_job(entrypoint=command, runtime_env=runtime_env)
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


async def follow(client: JobSubmissionClient, job: str) -> None:
    """Print what a job prints, until it ends."""
    async for text in client.tail_job_logs(job):
        print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
