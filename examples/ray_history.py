"""Which learning rate is best? Asks the rows of many runs by Ray Data, each run read where there is a core for it.

    python examples/ray_history.py

It fits a line in 24 short runs and prints, for each learning rate, the mean loss over all steps of its runs.
What is summed up where is Ray's business: the same lines do for runs that no machine's memory holds, on a cluster whose
nodes see the runs' directory under one path (`read_history("/shared/results", ...)`).
"""

import argparse
import random

import ray
from ray.data.aggregate import Count, Mean

import disttrack
from disttrack.integrations.ray import read_history


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare learning rates over all runs of a project.")
    parser.add_argument("--runs", type=int, default=24, help="how many to make first (0: take those that are there)")
    args = parser.parse_args()
    ray.init()
    for seed in range(args.runs):
        fit_line(lr=(0.03, 0.1, 0.3, 1.0)[seed % 4], seed=seed)

    losses = read_history("ray-history", keys=["loss"], config=["lr"], filters="state:finished")
    found = losses.groupby("config.lr").aggregate(Count(alias_name="steps"), Mean("loss"))
    for row in sorted(found.take_all(), key=lambda row: row["config.lr"]):
        print(f"lr {row['config.lr']:<5} {row['steps']} steps, mean loss {row['mean(loss)']:.4f}")


def fit_line(lr: float, seed: int, steps: int = 50) -> None:
    """Fit y = 3 x + 1 to noisy points by gradient descent; a run of its own."""
    noise = random.Random(seed)
    points = [(x / 10, 3 * x / 10 + 1 + noise.gauss(0, 0.1)) for x in range(-10, 11)]
    with disttrack.init(project="ray-history", config={"lr": lr, "seed": seed}, settings={"quiet": True}) as run:
        slope = intercept = 0.0
        for step in range(steps):
            errors = [slope * x + intercept - y for x, y in points]
            run.log({"loss": sum(error**2 for error in errors) / len(points)}, step=step)
            slope -= lr * sum(error * x for error, (x, _) in zip(errors, points, strict=True)) / len(points)
            intercept -= lr * sum(errors) / len(points)


if __name__ == "__main__":
    main()
