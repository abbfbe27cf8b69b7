"""A connection to Ray: to a cluster at an address, or to one of this machine's own for the time of the work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sensorium.errors import SensoriumError, UserError
from sensorium.modules import STARTED_IN
from sensorium.plugins import Plugins
from sensorium.runtime import internals, working_dir
from sensorium.runtime.address import join
from sensorium.runtime.packages import packages

_IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Variable that Ray sets where a job runs; what travels with it came with its files."""
HANG_UP = "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S"
"""Seconds that workers have to leave their process group; one that hangs would hold up a restart for Ray's 30."""


@contextmanager
def joined(address: str | None, plugins: Plugins) -> Iterator[None]:
    """Joins a cluster, and leaves it again if this process was not in one before.

    Args:
        address: HOST:PORT, a name, or `auto`; None starts Ray on this machine for the time.
        plugins: What workers need; it travels to a cluster, where it may not be installed.

    Raises:
        UserError: Nothing answers at the address.
    """
    import ray

    if ray.is_initialized():
        yield
        return
    connect(address, plugins)
    try:
        yield
    finally:
        ray.shutdown()


def connect(address: str | None, plugins: Plugins, log: bool = True) -> None:
    """Joins a cluster.

    Args:
        address: HOST:PORT, a name, or `auto`; None starts Ray on this machine.
        plugins: What workers need; it travels to a cluster, where it may not be installed.
        log: Whether what workers print is shown here, Ray's own notes apart.

    Raises:
        UserError: Nothing answers at the address.
        SensoriumError: Ray does not start.
    """
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address is None:
        os.environ.update(variables(plugins.modules))  # which Ray's processes inherit
    internals.keep_to_loopback(address is None)
    internals.listen()
    try:
        # The dashboard stays: without it nothing tells Ray Train that a trial was stopped, and its cores stay taken.
        ray.init(
            address="local" if address is None else join(address),
            log_to_driver=log,
            logging_level="ERROR",
            runtime_env=_environment(address, plugins),
        )
    except SensoriumError:  # of the address
        raise
    except (ConnectionError, RuntimeError, ValueError) as cause:
        raise UserError(
            f"The Ray cluster {address!r} cannot be reached: {cause}.",
            "An address looks like 10.0.0.1:6379 or ray://10.0.0.1:10001, or is `auto`.",
            "`sensorium doctor` says what can be reached.",
        ) from cause
    except Exception as cause:  # Ray raises nothing narrower where its processes do not come up in time
        raise SensoriumError(
            f"Ray did not start: {' '.join(str(cause).split())[:300]}.".replace("..", "."),
            "Its processes have 30 s to come up.",
            "Try again when the machine is less busy; `sensorium doctor` looks at it.",
        ) from cause


def _environment(address: str | None, plugins: Plugins) -> dict[str, Any] | None:
    """Returns what workers of a cluster lack; those of this machine inherit it, and a job has brought it."""
    if address is None or _IN_A_JOB in os.environ:
        return None
    carried = packages(plugins)
    return {
        "env_vars": variables(plugins.modules),
        **({"py_modules": carried} if carried else {}),
    }  # Ray chokes on an empty list


def variables(listed: Sequence[str] = ()) -> dict[str, str]:
    """Returns the environment variables of workers, which load the listed modules from where the command started."""
    passed = {HANG_UP: os.environ.get(HANG_UP, "5"), **working_dir.variables()}
    passed[STARTED_IN] = str(Path.cwd())
    paths = [*([passed[STARTED_IN]] if listed else ()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    passed["PYTHONPATH"] = os.pathsep.join(path for path in dict.fromkeys(paths) if path)
    return passed
