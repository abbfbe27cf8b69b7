"""Memory and time of the losses over pairs, against the full matrix in autograd.

Run `python tests/benchmarks/contrastive_loss.py`. Each memory figure is the growth of the peak
resident memory over forward and backward, inputs excluded, in a fresh process. Times are medians of
runs that take turns in one process. The plain loss on two workers gathers all rows with gradient
and fills the full matrix on each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from sensorium.builtin.losses.blocks import PairLoss
from sensorium.builtin.losses.infonce import InfoNCE
from sensorium.builtin.losses.siglip import SigLIP

CONFIGS: dict[str, PairLoss.Config] = {"infonce": InfoNCE.Config(), "siglip": SigLIP.Config()}
METHODS = ("plain", "tiled")


class Gather(torch.autograd.Function):
    """Rows of all workers, with gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def plain(module: Any, a: Tensor, b: Tensor) -> Tensor:
    """Returns the loss over the full matrix of all workers' rows."""
    if dist.is_initialized():
        a, b = Gather.apply(a), Gather.apply(b)
    logits = a @ b.T * module.log_scale.exp()
    if isinstance(module, InfoNCE):
        target = torch.arange(len(a))
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return -F.logsigmoid((logits + module.bias) * (2 * torch.eye(len(a)) - 1)).sum() / len(a)


def prepare(loss: str, method: str, batch: int, dim: int) -> Callable[[], list[Tensor]]:
    """Returns what runs forward and backward once, and returns the loss and its gradients."""
    random = torch.Generator().manual_seed(0)
    a = torch.randn(batch, dim, generator=random)
    b = torch.randn(batch, dim, generator=random).add_(a, alpha=0.5)
    leaves = [F.normalize(rows, dim=1).requires_grad_() for rows in (a, b)]
    module = CONFIGS[loss].build()
    groups = torch.arange(batch) + batch * (dist.get_rank() if dist.is_initialized() else 0)
    tensors = [*leaves, *module.parameters()]

    def run() -> list[Tensor]:
        for tensor in tensors:
            tensor.grad = None
        value: Tensor = plain(module, *leaves) if method == "plain" else module(*leaves, groups)
        value.backward()  # type: ignore[no-untyped-call]
        return [value.detach(), *(tensor.grad for tensor in tensors if tensor.grad is not None)]

    return run


def memory_of_this_process() -> tuple[int, int]:
    """Returns the KiB that this process holds now, and has held at its peak."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    # Not getrusage: its peak includes that of the process that started this one.
    return int(lines["VmRSS"].split()[0]), int(lines["VmHWM"].split()[0])


def probe(loss: str, method: str, batch: int, dim: int, rank: int, workers: int, store: str) -> None:
    """Prints by how many KiB this process grows at its peak; `batch` is that of one worker."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=workers)
    prepare(loss, method, 64, dim)()  # threads, kernels and connections are there from now on
    run = prepare(loss, method, batch, dim)
    before, _ = memory_of_this_process()
    run()
    _, peak = memory_of_this_process()
    print(peak - before)
    if workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def memory(loss: str, method: str, batch: int, dim: int, workers: int) -> float:
    """Returns the growth of the largest of the workers in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        options = [loss, method, batch // workers, dim]
        commands = [[*options, rank, workers, f"{folder}/store"] for rank in range(workers)]
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--probe", json.dumps(command)], stdout=subprocess.PIPE, text=True
            )
            for command in commands
        ]
        outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"A probe of {loss}, {method}, failed.")
    return max(int(output) for output in outputs) / 1024


def compare(loss: str, batch: int, dim: int, repeat: int) -> tuple[dict[str, float], dict[str, float]]:
    """Returns the median seconds of each method, and the differences between their results."""
    runs = {method: prepare(loss, method, batch, dim) for method in METHODS}
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    results = {}
    for turn in range(repeat + 1):
        for method, run in runs.items():
            start = time.perf_counter()
            results[method] = run()
            if turn:  # the first turn warms up
                seconds[method].append(time.perf_counter() - start)
    names = ("loss", "a", "b", "scale", "bias")
    differences = {
        name: float((found - expected).norm() / expected.norm())
        for name, found, expected in zip(names, results["tiled"], results["plain"], strict=False)
    }
    return {method: statistics.median(times) for method, times in seconds.items()}, differences


def main() -> None:
    """Measures, printing a line for each measurement, and the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8192, help="samples of the global batch")
    parser.add_argument("--dim", type=int, default=512, help="channels of a row")
    parser.add_argument("--repeat", type=int, default=5, help="timed runs of each method")
    parser.add_argument("--probe", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        return probe(*options.probe)
    torch.set_num_threads(os.cpu_count() or 1)
    size = (options.batch, options.dim)
    ratios = []
    for loss in CONFIGS:
        for workers in (1, 2):
            used = {method: memory(loss, method, *size, workers) for method in METHODS}
            figures = ", ".join(f"{method} {mib:.0f} MiB" for method, mib in used.items())
            print(f"{loss}, peak memory, {workers} worker(s): {figures}", flush=True)
            ratios.append(
                f"{loss}: {used['plain'] / used['tiled']:.1f} times less memory"
                if workers == 1
                else f"{loss}: {used['tiled'] / used['plain']:.3f} of the memory on two workers"
            )
        seconds, differences = compare(loss, *size, options.repeat)
        figures = ", ".join(f"{method} {value:.2f} s" for method, value in seconds.items())
        print(f"{loss}, forward and backward, median of {options.repeat}: {figures}", flush=True)
        figures = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        print(f"{loss}, relative difference: {figures}", flush=True)
        ratios.append(f"{loss}: {seconds['plain'] / seconds['tiled']:.2f} times faster")
    print(*ratios, sep="\n")
    return None


if __name__ == "__main__":
    main()
