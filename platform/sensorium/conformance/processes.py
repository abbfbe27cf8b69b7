"""A function in two fresh processes that train together, joined by gloo."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.conformance.finding import ContractError

SECONDS = 120
"""Time that both may take."""


def on_two_workers(function: str, argument: Any) -> dict[str, Tensor]:
    """Returns the tensors that a function returns on the first of two workers.

    Args:
        function: `module:function`, from what JSON can hold to name -> tensor.
        argument: Its argument.

    Raises:
        ContractError: A process failed or did not end; says its last words.
    """
    with tempfile.TemporaryDirectory() as folder:
        order = {"function": function, "argument": argument, "folder": folder, "path": sys.path}
        workers = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(rank), json.dumps(order)], stderr=subprocess.PIPE, text=True
            )
            for rank in range(2)
        ]
        try:
            said = [worker.communicate(timeout=SECONDS)[1].strip().splitlines() for worker in workers]
        except subprocess.TimeoutExpired as cause:
            raise ContractError(f"Two workers did not end within {SECONDS} s.") from cause
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        for worker, lines in zip(workers, said, strict=True):
            if worker.returncode:
                raise ContractError(f"On two workers: {lines[-1] if lines else 'a process died'}.")
        answer: dict[str, Tensor] = load_file(Path(folder) / "answer.safetensors")
        return answer


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Returns the largest difference of two sets of tensors, relative to the largest value of each."""
    return max(
        float((value - other[name]).abs().max() / value.abs().max().clamp_min(1e-6)) for name, value in one.items()
    )


def _main(rank: int, order: Mapping[str, Any]) -> None:
    sys.path[:] = order["path"]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{order['folder']}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=SECONDS),
    )
    module, _, name = order["function"].partition(":")
    answer = getattr(import_module(module), name)(order["argument"])
    dist.barrier()
    if rank == 0:
        save_file(answer, Path(order["folder"]) / "answer.safetensors")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _main(int(sys.argv[1]), json.loads(sys.argv[2]))
