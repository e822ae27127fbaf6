"""Hyperparameter search with Ray Tune: every trial is a run, with one line.

    python examples/ray_tune.py
    python examples/ray_tune.py --trials 16 --kill

It fits scikit-learn's handwritten digits by softmax regression in plain numpy, eight trials with other learning rates
and batch sizes; ASHA ends the bad ones early. `disttrack ls` then shows a run for each trial: finished or stopped, with
its hyperparameters and its best accuracy, in the group of the experiment. Their rows are what tune.report() was given,
and what the trial logs besides. --kill: one trial ends its own process in the middle; Tune tries it again from its last
checkpoint, and that is attempt 1 of the same run.

Tune gets no callback: what a trial is, it knows by itself. Run it on a cluster by launchers/ray_job.py, unchanged.
"""

import argparse
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits

import disttrack
from disttrack.integrations.ray import trainable

EPOCHS = 12


@trainable(project="ray-digits")
def softmax_regression(config: dict[str, Any]) -> None:
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = np.c_[pixels / 16, np.ones(len(pixels))][order], labels[order]
    train, test = slice(360, None), slice(0, 360)
    weights, epoch = restored()
    falls = config["kill"] and epoch == 0 and tune.get_context().get_trial_id().endswith("_00000")
    shuffle = np.random.default_rng(1)
    while epoch < EPOCHS:
        for batch in np.array_split(shuffle.permutation(1437), 1437 // config["batch_size"]):
            x, y = images[train][batch], labels[train][batch]
            probabilities = softmax(x @ weights)
            probabilities[np.arange(len(y)), y] -= 1
            weights -= config["lr"] * x.T @ probabilities / len(y)
        epoch += 1
        disttrack.log({"weight_norm": float(np.linalg.norm(weights))})
        loss = -np.log(softmax(images[train] @ weights)[np.arange(1437), labels[train]] + 1e-12).mean()
        accuracy = (np.argmax(images[test] @ weights, axis=1) == labels[test]).mean()
        with tempfile.TemporaryDirectory() as directory:
            np.savez(Path(directory, "state.npz"), weights=weights, epoch=epoch)
            checkpoint = tune.Checkpoint.from_directory(directory)
            tune.report({"loss": float(loss), "accuracy": float(accuracy)}, checkpoint=checkpoint)
        if falls and epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def restored() -> tuple[NDArray[np.float64], int]:
    """Return weights and epoch of the last checkpoint, where this is another attempt."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return np.zeros((65, 10)), 0
    with checkpoint.as_directory() as directory, np.load(Path(directory, "state.npz")) as state:
        weights = np.array(state["weights"], np.float64)
        return weights, int(state["epoch"])


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description="Search learning rate and batch size of softmax regression.")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--kill", action="store_true", help="let one trial kill itself once")
    parser.add_argument("--storage", default=os.path.abspath("ray-results"), help="where Tune keeps the experiment")
    args = parser.parse_args()
    ray.init()
    tuner = tune.Tuner(
        softmax_regression,
        param_space={
            "lr": tune.loguniform(0.003, 3.0),
            "batch_size": tune.choice([16, 32, 64]),
            "kill": args.kill,
        },
        tune_config=tune.TuneConfig(
            num_samples=args.trials,
            metric="accuracy",
            mode="max",
            # max_t: beyond the last epoch, so that a trial that is not ended early ends by itself, as finished
            scheduler=ASHAScheduler("training_iteration", max_t=EPOCHS + 1, grace_period=3, reduction_factor=3),
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=args.storage,
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    best = tuner.fit().get_best_result()
    metrics, config = best.metrics or {}, best.config or {}
    print(f"best accuracy {metrics['accuracy']:.3f} with lr {config['lr']:.3g}")


if __name__ == "__main__":
    main()
