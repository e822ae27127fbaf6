"""Data-parallel training of a small network on scikit-learn's handwritten digits, on CPU: every rank logs.

    torchrun --nproc-per-node 2 examples/ddp_digits.py
    sbatch launchers/slurm.sbatch examples/ddp_digits.py
    PROCESSES=2 sh launchers/mpirun.sh examples/ddp_digits.py
    python examples/ddp_digits.py --spawn 2

All train the same model, under a launcher (launchers/ has a file for each) or with processes that the script starts
itself. Rank 0 prints the loss of each epoch, each rank its receipt; `disttrack ls` then shows one run of two ranks,
`disttrack show ID` its test accuracy, and `disttrack ranks ID` which rank is slower.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import disttrack


def main() -> None:
    args = arguments()
    if "MASTER_ADDR" in os.environ:  # a launcher started this process
        run = disttrack.init(project="digits", group=args.group, config=vars(args))
        # Each launcher has variables of its own for rank and world size. disttrack has read them.
        dist.init_process_group("gloo", rank=run.rank, world_size=run.world_size)
        train(args, run)
        return
    with tempfile.TemporaryDirectory() as directory:
        mp.spawn(spawned, args=(args, Path(directory, "rendezvous").as_uri()), nprocs=args.spawn)


def spawned(rank: int, args: argparse.Namespace, rendezvous: str) -> None:
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=args.spawn)
    train(args, disttrack.init(project="digits", group=args.group, config=vars(args)))


def train(args: argparse.Namespace, run: disttrack.Run) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rank, world_size = dist.get_rank(), dist.get_world_size()

    train_set, test_set = digits()
    sampler: DistributedSampler[tuple[Tensor, ...]] = DistributedSampler(train_set, world_size, rank)
    batches = DataLoader(train_set, args.batch_size, sampler=sampler, drop_last=True)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)))
    optimizer = torch.optim.AdamW(model.parameters(), args.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(batches))

    step = 0
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        began = time.perf_counter()
        for images, labels in batches:
            logits = model(images)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            grad_norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
            lr = schedule.get_last_lr()[0]
            optimizer.step()
            schedule.step()
            ended = time.perf_counter()
            run.log(
                {
                    "loss": loss.item(),
                    "accuracy": share_right(logits, labels),
                    "lr": lr,
                    "samples_per_s": len(labels) / (ended - began),
                    "grad_norm": grad_norm.item(),
                },
                step=step,
            )
            began = ended
            step += 1
        if rank == 0:
            print(f"epoch {epoch}: loss {run.summary['loss']:.4f}", flush=True)

    if rank == 0:
        run.summary["test_accuracy"] = accuracy(model.module, test_set)
    print(f"rank {rank} of {world_size}: {run.finish()}", flush=True)
    dist.destroy_process_group()


def digits() -> tuple[TensorDataset, TensorDataset]:
    """Return 1,437 training and 360 test images of 8 x 8 pixels with their labels, the same split in every rank."""
    pixels, labels = load_digits(return_X_y=True)
    images, targets = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(labels)
    shuffled = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = shuffled[360:], shuffled[:360]
    return TensorDataset(images[train], targets[train]), TensorDataset(images[test], targets[test])


@torch.no_grad()
def accuracy(model: nn.Module, dataset: TensorDataset) -> float:
    images, labels = dataset.tensors
    return share_right(model(images), labels)


def share_right(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(dim=1) == labels).double().mean())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits with DDP.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32, help="images per rank and step")
    parser.add_argument("--lr", type=float, default=3e-3, help="the highest learning rate of the one-cycle schedule")
    parser.add_argument("--spawn", type=int, default=2, help="without a launcher: start this many processes")
    parser.add_argument("--group", help="label that this run shares with others")
    return parser.parse_args()


if __name__ == "__main__":
    main()
