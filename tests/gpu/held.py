"""What every task is held to on a device: the processor's losses, flat memory, resuming, shards, served answers."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from shortened import shortened

from sensorium import hookimpl
from sensorium.assembly import trained
from sensorium.assembly.build import Assembly, assemble
from sensorium.assembly.loading import load
from sensorium.contracts.run import Run, Step
from sensorium.engine import parallel
from sensorium.engine.checkpoint import Store
from sensorium.engine.loader import Loader
from sensorium.engine.loop import Loop
from sensorium.engine.settings import Optimizer
from sensorium.engine.state import weights
from sensorium.engine.step import Stepper
from sensorium.inference.predictor import Predictor
from sensorium.serving.application import application
from sensorium.serving.served import Local
from sensorium.serving.served import load as load_served
from sensorium.serving.settings import Limits
from sensorium.training import runs
from sensorium.training.execution import execute

NEAR = 0.1
"""Relative difference, of the mean over a training, at which losses in bf16 count as those of the processor."""
GROWS = 2**20
"""Bytes by which memory may grow between the middle and the end of a training."""


class KilledError(Exception):
    """Ends a training in its midst."""


class Watch:
    """Keeps the losses of each step, and the device's memory after it; raises after a step if asked to."""

    def __init__(self, device: torch.device, killed_at: int = 0) -> None:
        self.device, self.killed_at = device, killed_at
        self.losses: list[Mapping[str, torch.Tensor]] = []
        self.stages: list[str] = []
        self.memory: list[int] = []

    @hookimpl
    def sensorium_step_finished(self, step: Step) -> None:
        """Keeps them."""
        self.losses.append(step.losses)
        self.stages.append(step.stage)
        self.memory.append(torch.cuda.memory_allocated() if self.device.type == "cuda" else 0)
        if step.number == self.killed_at:
            raise KilledError


def trained_on(
    device: torch.device, task: str, folder: str, options: Sequence[str], killed_at: int = 0
) -> tuple[Assembly, Watch]:
    """Trains a task, from the folder's last checkpoint if there is one; nothing is measured."""
    assembly = assemble(load(task, options))
    watch, store = Watch(device, killed_at), Store(folder)
    assembly.loaded.plugins.manager.register(watch)
    resume = store.latest()
    if resume is None:
        trained.initialise(assembly.task)
    assembly.task.to(device)
    run = Run(name=task, folder=folder, experiment={}, seed=0, steps=0)
    try:
        Loop(assembly.work(), run, store, device, assembly.loaded.plugins.hook).train(resume)
    except KilledError:
        pass
    finally:
        store.wait()
    return assembly, watch


def learns(task: str, device: torch.device, steps: int) -> str:
    """Says how far a task's losses in bf16 on a device are from those of the processor; and that memory is flat.

    Raises:
        AssertionError: They are far, or it grows.
    """
    options = shortened(task, steps, "run.threads=2")
    with tempfile.TemporaryDirectory() as folder:
        _, right = trained_on(torch.device("cpu"), task, f"{folder}/cpu", options)
        _, found = trained_on(device, task, f"{folder}/device", [*options, "training.precision=bf16"])
    assert len(found.losses) == len(right.losses) > 0
    assert [each.keys() for each in found.losses] == [each.keys() for each in right.losses]
    far, worst = 0.0, ""
    for stage in dict.fromkeys(right.stages):
        names = {name for step, at in zip(right.losses, right.stages, strict=True) if at == stage for name in step}
        for name in sorted(names):
            one, other = (_mean(watch, stage, name) for watch in (right, found))
            off = abs(one - other) / max(abs(one), 0.05)
            assert math.isfinite(other), f"{stage}, {name}: {other}"
            far, worst = max((far, worst), (off, f"{stage}, {name}: {other:.4g}, not {one:.4g}"))
    assert far <= NEAR, f"{worst} ({far:.1%} off)"
    last = [memory for memory, at in zip(found.memory, found.stages, strict=True) if at == found.stages[-1]]
    grown = last[-1] - last[len(last) // 2]
    assert grown <= GROWS, f"memory grew by {grown / 2**20:.1f} MiB in {len(last) - len(last) // 2} steps"
    return f"{len(found.losses)} steps, losses within {far:.1%} of the processor's"


def _mean(watch: Watch, stage: str, name: str) -> float:
    found = [each[name] for each, at in zip(watch.losses, watch.stages, strict=True) if at == stage and name in each]
    return float(torch.stack([value.float().cpu() for value in found]).mean())


def resumes(task: str, device: torch.device) -> str:
    """Says how far a training that was killed and resumed ends from an undisturbed one.

    Raises:
        AssertionError: Far.
    """
    options = shortened(task, 8, "training.checkpoints.steps=3", "run.threads=2")
    with tempfile.TemporaryDirectory() as folder:
        whole, _ = trained_on(device, task, f"{folder}/whole", options)
        trained_on(device, task, f"{folder}/killed", options, killed_at=5)
        again, rest = trained_on(device, task, f"{folder}/killed", options)
    assert 0 < len(rest.losses) < 8, "it began anew"
    off = max(float((weights(again.task)[name] - each).abs().max()) for name, each in weights(whole.task).items())
    assert off <= (0.0 if device.type == "cpu" else 1e-3), f"weights differ by up to {off:.2g}"
    return f"killed at step 5 of 8 and resumed: weights differ by {off:.2g} at most"


@contextmanager
def group(device: torch.device) -> Iterator[None]:
    """Makes this process a group of one."""
    with tempfile.TemporaryDirectory() as folder:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


def shards(task: str, device: torch.device) -> str:
    """Says how far the losses of a model in shards (FSDP2, of one worker) are from those of a whole one.

    Raises:
        AssertionError: Far.
    """
    options = shortened(task, 4, "run.threads=2", "training.precision=bf16")
    found = []
    for cut in (False, True):
        with group(device):
            assembly = assemble(load(task, options))
            model = assembly.task.to(device).train()
            if cut:
                parallel.shard(model, device)
            (objective, *_), *_ = (stage.objectives for stage in model.stages())
            training = assembly.work().training
            stepper = Stepper(model, objective, training, Optimizer(lr=1e-3), device, sharded=cut)
            plan = [(0, list(range(start, start + 16))) for start in range(0, 64, 16)]
            with Loader(assembly.splits["train"], assembly.modalities, 2) as loader:
                steps = [stepper.step(batch.to(device), 16, 1.0, 1) for batch in loader.stream(plan)]
            found.append(torch.stack([value.float().mean().cpu() for step in steps for value in step.values()]))
    off = float(((found[1] - found[0]).abs() / found[0].abs()).max())
    assert off < 0.02, f"losses {found[1].tolist()}, not {found[0].tolist()}"
    return f"in shards: losses within {off:.2%} of those of a whole model"


def serves(task: str) -> str:
    """Says that the endpoint's answers, asked as an ASGI application, are those of `predict`.

    Raises:
        AssertionError: They are not.
    """
    with tempfile.TemporaryDirectory() as folder:
        assembly = assemble(load(task, shortened(task, 4, "run.threads=2", f"run.storage={json.dumps(folder)}")))
        model = execute(assembly, runs.create(assembly, {})).model
        predictor = Predictor.load(model)
        sample, answers = assembly.splits["test"][0], 0
        for name, modality in predictor.model.task.inputs.items():
            if name not in assembly.modalities:
                continue
            raw = modality.encode(modality.transform(modality.decode(sample[name]), None))
            question = {name: raw if modality.accepts else sample[name]}
            (right,) = predictor([question])
            app = application({task: Local(load_served(model, task, Limits(), 2))})
            status, answer = asyncio.run(_posted(app, f"/models/{task}/predict", plain(question)))
            assert status == 200, answer
            assert json.loads(answer) == json.loads(json.dumps(plain(right))), name
            answers += 1
    return f"served: {answers} answers equal those of predict"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values with bytes as base64."""
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in values.items()
    }


async def _posted(app: Any, path: str, body: Mapping[str, Any]) -> tuple[int, bytes]:
    """Returns status and body of the answer of an ASGI application, its start and end included."""
    sent: list[dict[str, Any]] = []
    stages = asyncio.Queue[dict[str, Any]]()
    told = asyncio.Queue[dict[str, Any]]()
    await stages.put({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, stages.get, told.put))
    assert (await told.get())["type"] == "lifespan.startup.complete"
    asked = iter([{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}])

    async def receive() -> dict[str, Any]:
        message = next(asked, None)
        return message if message is not None else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await app(scope, receive, send)
    await stages.put({"type": "lifespan.shutdown"})
    await life
    whole = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return sent[0]["status"], whole


def folder() -> Path:
    """Returns where `shortened` lies."""
    return Path(__file__).parents[1] / "tasks"
