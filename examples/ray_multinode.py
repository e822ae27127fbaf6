"""ray_train.py over the nodes of a cluster: one run, whichever node its ranks are on, and which node is slower.

    python ray_job.py --address http://head:8265 ray_multinode.py --storage /shared/results    from anywhere
    python examples/ray_multinode.py --workers 4                                               on a node, or here

It spreads the workers over the nodes, and when they are done it reads their run back on the node that it runs on: each
rank with its node and speed, and how many of its rows are stored. Nothing is configured for that: one process on the
head node writes the run, each other node has an agent of it, and what ranks log waits on their own disk for as long as
the way there is cut. Copy ray_train.py and launchers/ray_job.py beside this file, to have them uploaded with it.
"""

import argparse
import os

import numpy as np
import ray
import ray.train
import ray.train.torch
from ray_train import train

import disttrack


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits, with workers on all nodes of a cluster.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--storage", default=os.path.abspath("ray-results"), help="a directory that all nodes see")
    args = parser.parse_args()
    ray.init()
    ray.train.torch.TorchTrainer(
        train,
        train_loop_config={"epochs": args.epochs, "batch_size": 32, "lr": 3e-3, "fail": False},
        scaling_config=ray.train.ScalingConfig(num_workers=args.workers, placement_strategy="SPREAD"),
        run_config=ray.train.RunConfig(name="ray-multinode", storage_path=args.storage),
    ).fit()

    with disttrack.Api(os.environ.get("DISTTRACK_DIR", args.storage)) as api:
        (run,) = api.runs("ray-digits", "name:ray-multinode", order="-created")[:1]
        history = run.history(keys=["samples_per_s"])
        for rank in run.ranks:
            speed = np.median(history["samples_per_s"][history["rank"] == rank.rank])
            print(f"rank {rank.rank} on {rank.node}: {rank.state}, {rank.rows} rows, {speed:.0f} images/s")
        print(f"{run.project}/{run.id}: {run.receipt.stored} of {run.receipt.logged} records stored")


if __name__ == "__main__":
    main()
