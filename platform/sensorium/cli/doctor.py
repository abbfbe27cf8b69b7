"""Says what works: the machine, torch, Ray and who may use it, MLflow, storage, plugins."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from sensorium.errors import SensoriumError
from sensorium.plugins import Plugins
from sensorium.redaction import redacted
from sensorium.tracking.uri import default_uri


@dataclass(frozen=True)
class Finding:
    """What was found out about one subject."""

    subject: str
    ok: bool
    text: str


def examine(address: str | None = None) -> list[Finding]:
    """Returns the findings; each check stands by itself, so that one that fails hides no other."""
    checks: dict[str, Callable[[], str]] = {
        "machine": _machine,
        "torch": _torch,
        "ray": lambda: _ray(address),
        "access": lambda: _access(address),
        "mlflow": _mlflow,
        "storage": _storage,
        "plugins": _plugins,
    }
    findings = []
    for subject, look in checks.items():
        try:
            findings.append(Finding(subject, True, look()))
        except SensoriumError as cause:
            findings.append(Finding(subject, False, str(cause)))
        except Exception as cause:  # noqa: BLE001 (whatever is wrong is what is looked for)
            text = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
            findings.append(Finding(subject, False, redacted(text)))
    return findings


def _machine() -> str:
    memory = psutil.virtual_memory()
    return (
        f"Python {platform.python_version()} on {sys.platform}, {os.cpu_count()} cores, "
        f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB memory free"
    )


def _torch() -> str:
    import torch
    import torchaudio
    import torchvision

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, torchaudio {torchaudio.__version__}"
    return f"{versions}; GPUs: {', '.join(gpus) or 'none'}"


def _ray(address: str | None) -> str:
    from sensorium.runtime.cluster import describe

    return describe(address)


def _access(address: str | None) -> str:
    from sensorium.runtime.cluster import access

    return access(address)


def _mlflow() -> str:
    from sensorium.tracking.records import count_experiments

    return f"{default_uri()} answers, {count_experiments(default_uri())} experiments"


def _storage() -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        (Path(folder) / "probe").write_bytes(b"probe")
    return f"{Path.cwd()} can be written, {shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free"


def _plugins() -> str:
    plugins = Plugins()
    if plugins.failures:
        raise RuntimeError("; ".join(f"{failure.plugin}: {failure.cause}" for failure in plugins.failures))
    return ", ".join(f"{name} {version}" for name, version in sorted(plugins.versions.items()))
