"""Data-parallel training with Ray Train on scikit-learn's handwritten digits, on CPU: every worker is a rank.

    python examples/ray_train.py
    python examples/ray_train.py --workers 4 --fail

The same training as ddp_digits.py does under torchrun; what differs is that Ray starts the workers, and the one line
`run = setup(config, ...)`. `disttrack ls` then shows one run of two ranks, `disttrack show ID` its test accuracy,
`disttrack ranks ID` which rank is slower. --fail: rank 1 raises once in the middle; Ray starts all workers anew from
the last checkpoint, and that is attempt 1 of the same run.

Ray gets no callback; DisttrackCallback in RunConfig(callbacks=[...]) would add what only Ray's controller sees. Run it
on a cluster by launchers/ray_job.py: the script stays as it is (ray_multinode.py shows what to look at there).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from disttrack.integrations.ray import setup


def train(config: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    run = setup(config, project="ray-digits", job_type="train")
    rank = ray.train.get_context().get_world_rank()

    train_set, test_set = digits()
    batches = ray.train.torch.prepare_data_loader(DataLoader(train_set, config["batch_size"], shuffle=True))
    network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(network.parameters(), config["lr"])
    begin = restored(network, optimizer)
    model = ray.train.torch.prepare_model(network)

    step = begin * len(batches)
    for epoch in range(begin, config["epochs"]):
        if isinstance(batches.sampler, DistributedSampler):  # with one worker it is none
            batches.sampler.set_epoch(epoch)
        began = time.perf_counter()
        for images, labels in batches:
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ended = time.perf_counter()
            speed = len(labels) / (ended - began)
            run.log({"loss": loss.item(), "accuracy": share_right(logits, labels), "samples_per_s": speed}, step=step)
            began = ended
            step += 1
        if rank == 0:
            run.summary["test_accuracy"] = accuracy(network, test_set)
        report(epoch + 1, network, optimizer, rank)
        if config["fail"] and begin == 0 and rank == 1 and epoch == config["epochs"] // 2:
            raise RuntimeError("asked for by --fail")
    print(f"rank {rank}: {run.finish()}", flush=True)


def report(epoch: int, network: nn.Module, optimizer: torch.optim.Optimizer, rank: int) -> None:
    """Tell Ray that an epoch is done; rank 0 with a checkpoint."""
    with tempfile.TemporaryDirectory() as directory:
        saved = None
        if rank == 0:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, Path(directory, "state.pt"))
            saved = ray.train.Checkpoint.from_directory(directory)
        ray.train.report({"epoch": epoch}, checkpoint=saved)


def restored(network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint, where this is another attempt; return how many epochs are done."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as directory:
        state = torch.load(Path(directory, "state.pt"))
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return 1,437 training and 360 test images of 8 x 8 pixels with their labels, the same split in every rank."""
    pixels, labels = load_digits(return_X_y=True)
    images, targets = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    shuffled = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = shuffled[360:], shuffled[:360]
    return TensorDataset(images[train], targets[train]), TensorDataset(images[test], targets[test])


@torch.no_grad()
def accuracy(network: nn.Module, dataset: TensorDataset) -> float:
    images, labels = dataset.tensors
    return share_right(network(images), labels)


def share_right(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits with Ray Train.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32, help="images per worker and step")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--fail", action="store_true", help="let rank 1 raise once, in the middle")
    parser.add_argument("--storage", default=os.path.abspath("ray-results"), help="where Ray keeps checkpoints")
    args = parser.parse_args()
    ray.init()
    trainer = ray.train.torch.TorchTrainer(
        train,
        train_loop_config={name: value for name, value in vars(args).items() if name not in ("workers", "storage")},
        scaling_config=ray.train.ScalingConfig(num_workers=args.workers),
        run_config=ray.train.RunConfig(
            name="ray-train", storage_path=args.storage, failure_config=ray.train.FailureConfig(max_failures=1)
        ),
    )
    result = trainer.fit()
    print(f"the last checkpoint is {result.checkpoint}")


if __name__ == "__main__":
    main()
