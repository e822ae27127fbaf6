"""Makes directories of runs to look at the page with: sweeps, a run with a late rank and a dead one, 256 ranks."""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path
from typing import Any

from disttrack.records.codec import encode
from disttrack.records.payloads import ConsoleText, Drop, RecordKind
from disttrack.records.types import Rank
from tests.index.logs import Process, RunLog, join_of

__all__ = ["PICTURES", "START_US", "eight_ranks", "many_runs", "mended", "printed", "process", "sweep", "wide"]

START_US = 1_790_000_000_000_000  # Unix time in µs
HOUR_US = 3_600_000_000


def process(
    rank: int, world_size: int, project: str, began_us: int, ranks_per_node: int = 4, **changes: Any
) -> Process:
    """Return a rank on its node, that began at this Unix time in µs."""
    node = rank // ranks_per_node
    who = Rank(rank=rank, world_size=world_size, local_rank=rank % ranks_per_node, source="made")
    join = join_of(
        rank,
        world_size,
        **{
            "project": project,
            "rank": who,
            "host": f"node{node}",
            "boot_id": f"boot{node}",
            "time_us": began_us,
            "job_type": "train",
            **changes,
        },
    )
    return Process(join, time_us=began_us)


def printed(rank: Process, text: str, stream: str = "stdout") -> None:
    line = ConsoleText(stream=stream, text=text + "\n", time_us=rank.time_us)  # type: ignore[arg-type]
    rank.append(encode(RecordKind.CONSOLE, line), 0)


def sweep(
    root: Path, project: str = "demo", runs: int = 12, steps: int = 300, began_us: int | None = None, first: int = 0
) -> list[str]:
    """Write runs of two ranks with configs that differ, numbered from `first`, and return their ids."""
    began = began_us if began_us is not None else int(time.time() * 1e6) - 30 * HOUR_US
    ids: list[str] = []
    for number in range(first, first + runs):
        chance = random.Random(number)
        lr = [1e-4, 3e-4, 1e-3, 3e-3][number % 4]
        width = [128, 256, 512][number % 3]
        run_id, start = f"sweep{number:02}", began + number * HOUR_US
        log = RunLog(root, project, run_id, f"calm-{['fox', 'owl', 'elk', 'jay'][number % 4]}-{number}", "sweep")
        ranks = [process(rank, 2, project, start, group="sweep") for rank in range(2)]
        for rank in ranks:
            rank.config(lr=lr, optimizer={"name": "adamw", "weight_decay": 0.01 * (number % 2)}, width=width, epochs=3)
        log.open(start)
        for step in range(steps):
            loss = 2.4 * math.exp(-step * lr * 20 / (1 + lr * 300)) + 0.3 + 60 / width / 10
            for rank in ranks:
                noisy = loss + chance.gauss(0, 0.05)
                row = {
                    "loss": noisy,
                    "accuracy": 1 - noisy / 4,
                    "perf/step_time": 0.1 + chance.random() * 0.01,
                    "lr": lr,
                }
                if step % 20 == 0:
                    row["eval/loss"] = loss + 0.1
                rank.row(row, step, 100_000)
        for rank in ranks:
            rank.end(1 if number == 5 else 0)
        log.commit_all(*ranks)
        log.end(ranks[0].time_us)
        log.close()
        ids.append(run_id)
    return ids


def eight_ranks(root: Path, project: str = "demo", run_id: str = "eight", steps: int = 1000, ended: bool = True) -> str:
    """Write a run on two nodes: rank 5 works longer from step 300 on, rank 6 is killed at step 700."""
    start = int(time.time() * 1e6) - steps * 210_000 - 60_000_000
    chance = random.Random(8)
    log = RunLog(root, project, run_id, "llm-7b", "pretraining")
    ranks = [process(rank, 8, project, start) for rank in range(8)]
    for rank in ranks:
        rank.config(lr=3e-4, batch_size=32, model={"layers": 32, "width": 4096}, strategy="fsdp")
    log.open(start)
    for step in range(steps):
        late = step >= 300
        for number, rank in enumerate(ranks):
            if number == 6 and step >= 700:
                continue
            work = 0.15 + chance.gauss(0, 0.004) + (0.05 if late and number == 5 else 0)
            loss = 6 * math.exp(-step / 220) + 2 + chance.gauss(0, 0.06) + (0.3 if step == 512 else 0)
            row: dict[str, float] = {
                "loss": loss,
                "grad_norm": abs(chance.gauss(1, 0.2)) * (30 if step in (100, 640) else 1),
                "time/step": 0.21,
                "time/compute": work,
                "time/communication": max(0.21 - work, 0.001),
                "perf/tokens_per_s": 4096 * 32 / 0.21 * chance.uniform(0.97, 1.03),
            }
            if step % 100 == 0:
                row["eval/loss"] = loss + 0.2
                printed(rank, f"step {step}: saved checkpoint")
            if number == 0 and step % 10 == 0:
                printed(rank, f"step {step} loss {loss:.3f}")
            rank.row(row, step, 210_000)
    printed(ranks[5], "WARNING: GPU 1 clocks throttled: thermal", "stderr")
    printed(ranks[6], "Traceback (most recent call last):", "stderr")
    printed(ranks[6], "RuntimeError: CUDA error: an illegal memory access was encountered", "stderr")
    log.commit_all(*ranks)
    log.see(ranks[6], "ended", ranks[6].time_us, signal=9)
    samples(log, project, start, nodes=2, count=steps // 5)
    if ended:
        for number, rank in enumerate(ranks):
            if number != 6:
                rank.end()
        log.commit(*[(rank, len(rank.bounds) - 2, None) for rank in ranks if rank is not ranks[6]])
        log.end(ranks[0].time_us)
    log.close()
    return run_id


def samples(log: RunLog, project: str, start: int, nodes: int, count: int, gpus: int = 4) -> None:
    """Write what the nodes' processes sampled: a second apart."""
    for node in range(nodes):
        chance = random.Random(node)
        who = process(node * gpus, nodes * gpus, project, start, gpus)
        who.role = "node"
        for second in range(count):
            row = {
                "cpu.percent": 30 + chance.gauss(0, 4),
                "memory.used_bytes": 60e9 + second * 1e7,
                "net.sent_bytes_per_s": 1e9 * chance.uniform(0.8, 1.2),
            }
            for gpu in range(gpus):
                slow = node == 1 and gpu == 1 and second > count * 0.3
                row |= {
                    f"gpu.{gpu}.percent": 96 + chance.gauss(0, 1) - (25 if slow else 0),
                    f"gpu.{gpu}.temperature_c": 62 + gpu + (22 if slow else 0) + chance.gauss(0, 0.5),
                    f"gpu.{gpu}.memory_used_bytes": 70e9,
                    f"gpu.{gpu}.power_w": 620 - (180 if slow else 0) + chance.gauss(0, 9),
                }
            who.row(row, second, 1_000_000)
        log.commit_all(who)


def wide(
    root: Path,
    project: str = "scale",
    run_id: str = "wide",
    ranks: int = 256,
    steps: int = 500,
    lr: float = 1e-3,
) -> str:
    """Write a run of many ranks: rank 77 is late all the time, rank 200 is killed half way."""
    start = int(time.time() * 1e6) - steps * 500_000 - 3_600_000_000
    chance = random.Random(ranks)
    log = RunLog(root, project, run_id, f"wide-{ranks}-lr{lr:g}", "scale")
    log.open(start)
    everybody = [process(rank, ranks, project, start, ranks_per_node=8) for rank in range(ranks)]
    everybody[0].config(lr=lr, nodes=ranks // 8)
    drift = [chance.gauss(0, 0.004) for _ in everybody]
    for number, rank in enumerate(everybody):
        for step in range(steps):
            if number == 200 and step > steps // 2:
                break
            late = 0.12 if number == 77 else 0.05 if number // 8 == 20 and 200 < step < 300 else 0
            compute = 0.4 + drift[number] + chance.gauss(0, 0.01) + late
            if step % 100 == 0:
                printed(rank, f"step {step}: saved checkpoint")
            if number == 0 and step % 10 == 0:
                printed(rank, f"step {step}: {1 / 0.6:.2f} steps/s")
            loss = 3 * math.exp(-step * lr / 0.15) + 1.5 + chance.gauss(0, 0.05)
            rank.row(
                {"loss": loss, "time/compute": compute, "time/communication": max(0.6 - compute, 0)}, step, 500_000
            )
        if number != 200:
            rank.end()
    log.commit_all(*everybody)
    log.see(everybody[200], "ended", everybody[200].time_us, signal=9)
    samples(log, project, start, nodes=ranks // 8, count=60, gpus=8)
    log.end(everybody[0].time_us)
    log.close()
    return run_id


def mended(root: Path, project: str = "demo", run_id: str = "mended") -> str:
    """Write a run of four ranks in two attempts: in the first, rank 2 is killed at step 100 and the run with it; the
    second goes on from step 80, and no journal takes rows 180 to 219 of rank 1; rank 3 is killed at step 240 of 300.
    """
    start = int(time.time() * 1e6) - 3_600_000_000
    log = RunLog(root, project, run_id, "mended-4", "repaired")
    log.open(start)
    first = [process(rank, 4, project, start, ranks_per_node=2) for rank in range(4)]
    second = [process(rank, 4, project, start + 60_000_000, ranks_per_node=2) for rank in range(4)]
    for attempt, (ranks, steps) in enumerate([(first, range(121)), (second, range(80, 300))]):
        chance = random.Random(attempt)
        for number, rank in enumerate(ranks):
            rank.attempt = attempt
            for step in steps:
                if (attempt == 0 and number == 2 and step > 100) or (attempt == 1 and number == 3 and step > 240):
                    break
                if attempt == 1 and number == 1 and 180 <= step < 220:
                    rank.time_us += 200_000
                    continue
                loss = 3 * math.exp(-step / 90) + 0.3 + 0.08 * number + chance.gauss(0, 0.02)
                rank.row({"loss": loss, "time/compute": 0.2 + chance.gauss(0, 0.005)}, step, 200_000)
    held = second[1].time_us
    drop = Drop(
        record_class="metrics",
        reason="disk_full",
        count=40,
        first_step=180,
        last_step=219,
        first_us=held - 24_000_000,
        last_us=held - 16_000_000,
    )
    second[1].append(encode(RecordKind.DROP, drop), 0)
    log.commit_all(*first)
    for rank in first:
        log.see(rank, "ended", rank.time_us, signal=9 if rank is first[2] else 15)
    for number, rank in enumerate(second):
        if number != 3:
            rank.end(dropped=40 if number == 1 else 0)
    log.commit_all(*second)
    log.see(second[3], "ended", second[3].time_us, signal=9)
    log.end(second[0].time_us)
    log.close()
    return run_id


#: A script that logs an image, a table and a histogram at each of three steps, with the library itself.
PICTURES = """
import numpy as np
import disttrack
run = disttrack.init(project="demo", name="pictures", settings={"console": "off"})
for step in (0, 10, 20):
    pixels = np.zeros((48, 64, 3), "uint8")
    pixels[:, :, 0] = np.linspace(0, 255, 64, dtype="uint8")
    pixels[:, :, 2] = 10 * step
    table = disttrack.Table(columns=["image", "guess", "share"], data=[[n, n % 7, 0.5 + step / 100] for n in range(30)])
    spread = disttrack.Histogram(np.random.default_rng(step).normal(step, 1 + step / 10, 500))
    run.log({"loss": 1 / (step + 1), "sample": disttrack.Image(pixels, caption=f"at step {step}"), "guesses": table,
             "weights/first": spread}, step=step)
run.finish()
"""


def many_runs(root: Path, project: str = "many", runs: int = 1000) -> None:
    """Write short runs of one rank."""
    start = int(time.time() * 1e6) - runs * 60_000_000
    for number in range(runs):
        log = RunLog(root, project, f"many{number:05}", f"trial-{number}")
        rank = process(0, 1, project, start + number * 60_000_000)
        rank.config(lr=10 ** random.Random(number).uniform(-5, -2), seed=number)
        log.open(start + number * 60_000_000)
        for step in range(20):
            rank.row({"loss": 2 - step / 20 + random.Random(number).random(), "accuracy": step / 20}, step)
        rank.end()
        log.commit_all(rank)
        log.end(rank.time_us)
        log.close()


if __name__ == "__main__":
    made = Path(sys.argv[1])
    sweep(made)
    eight_ranks(made)
    eight_ranks(made, run_id="eight-live", steps=400, ended=False)
    mended(made)
    wide(made)
    many_runs(made)
