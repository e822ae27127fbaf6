"""A parent and its worker processes log to one run: workers count primes, the parent counts finished tasks.

    python examples/multiprocessing_queue.py
    python examples/multiprocessing_queue.py --start-method fork

Only the parent calls `disttrack.init`. A worker that calls `disttrack.log` joins the parent's run as a helper of its
rank, whether it was forked or spawned. The receipt counts what the parent itself logged; `disttrack export ID --format
jsonl` shows the rows of all processes.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from multiprocessing.queues import Queue

import disttrack

TASK_SIZE = 20_000


def main() -> None:
    args = arguments()
    multiprocessing.set_start_method(args.start_method)
    run = disttrack.init(project="examples", config=vars(args))

    tasks: Queue[int | None] = multiprocessing.Queue()
    counts: Queue[int] = multiprocessing.Queue()
    for task in [*range(args.tasks), *[None] * args.workers]:  # a None for each worker tells it to stop
        tasks.put(task)
    workers = [multiprocessing.Process(target=work, args=(tasks, counts)) for _ in range(args.workers)]
    for worker in workers:
        worker.start()

    primes = 0
    for tasks_done in range(1, args.tasks + 1):
        primes += counts.get()
        disttrack.log({"tasks_done": tasks_done, "primes_found": primes})
    for worker in workers:
        worker.join()

    run.summary["primes_found"] = primes
    print(f"{primes:,} primes below {args.tasks * TASK_SIZE:,}")
    print(run.finish())


def work(tasks: Queue[int | None], counts: Queue[int]) -> None:
    """Takes tasks until there are none; runs in each worker process."""
    while (task := tasks.get()) is not None:
        began = time.perf_counter()
        count = sum(map(is_prime, range(task * TASK_SIZE, (task + 1) * TASK_SIZE)))
        disttrack.log({"task": task, "primes": count, "task_s": time.perf_counter() - began})
        counts.put(count)


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Count primes in worker processes that log to one run.")
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start-method", choices=["fork", "spawn"], default="spawn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
