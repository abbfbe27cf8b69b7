"""A connection to Ray: to a cluster at an address, or to one of this machine's own for the time of the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensorium.errors import UserError
from sensorium.plugins import Plugins
from sensorium.runtime import package
from sensorium.runtime.address import join
from sensorium.runtime.luggage import luggage


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


def connect(address: str | None, plugins: Plugins) -> None:
    """Joins a cluster; says in a sentence when it cannot."""
    import ray

    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    travels = {} if address is None else {"py_modules": luggage(plugins)}
    try:
        ray.init(
            address="local" if address is None else join(address),
            log_to_driver=True,
            logging_level="ERROR",
            runtime_env={"env_vars": variables(), **travels},
        )
    except (ConnectionError, RuntimeError, ValueError) as cause:
        raise UserError(
            f"The Ray cluster {address!r} cannot be reached: {cause}.",
            "An address looks like 10.0.0.1:6379 or ray://10.0.0.1:10001, or is `auto`.",
            "`sensorium doctor` says what can be reached.",
        ) from cause


def variables() -> dict[str, str]:
    """Returns the environment variables of workers."""
    passed = package.variables()
    # Modules that `plugins:` names lie where this command was started.
    passed["PYTHONPATH"] = os.pathsep.join(path for path in (str(Path.cwd()), os.environ.get("PYTHONPATH", "")) if path)
    return passed
