"""Serving from a terminal: started here or on a cluster, brought to other versions, and taken down."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sensorium.errors import SensoriumError, UserError
from sensorium.modules import present
from sensorium.plugins import Plugins
from sensorium.runtime import internals
from sensorium.runtime.connection import connect
from sensorium.runtime.serve import APPLICATION, INGRESS, VERSIONS, build
from sensorium.runtime.serve_profile import variables
from sensorium.serving.guard import LOOPBACK
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import KEY, Settings, check, key_from_environment, shared

PATIENCE = 300.0
"""Seconds that a change of version may take."""

DRAIN, END = 15.0, 8.0
"""Seconds at the end for the answers to what has come, and then for Serve; both and Ray's own are within 30."""


def check_host(host: str) -> None:
    """Refuses to listen beyond this machine without a key.

    Raises:
        UserError: Says how to set one.
    """
    if host not in LOOPBACK and not key_from_environment():
        raise UserError(
            f"{host} can be reached from beyond this machine, and no key is set.",
            f"Requests must carry one: {KEY}.",
            f"`export {KEY}=$(openssl rand -hex 32)`, or listen on 127.0.0.1.",
        )


def called(settings: Settings, host: str) -> Settings:
    """Returns settings by which the server answers to the names of where it listens, and to those that are set.

    Beyond loopback it has names that it does not know: without any set, it answers to all, and the key guards it.
    """
    if host not in LOOPBACK and not settings.hosts:
        return settings
    return settings.model_copy(update={"hosts": tuple(dict.fromkeys((*LOOPBACK, host, *settings.hosts)))})


def check_indexes(settings: Settings) -> None:
    """Checks that each index was made with the model that it is for.

    Raises:
        UserError: One was not, or is not whole.
    """
    from sensorium.inference.index import Index
    from sensorium.tracking.models import fetch

    for served in settings.models.values():
        if served.index:
            Index(served.index).check(served.model, fetch(served.model))


@contextmanager
def running(settings: Settings, host: str, port: int, address: str | None) -> Iterator[dict[str, str]]:
    """Serves while the block lasts; yields name -> version that is live.

    Args:
        settings: What to serve.
        host: Address to listen on.
        port: Port to listen on.
        address: Cluster to join, whose Serve stays; None starts a Ray of this machine's own, which ends.

    Raises:
        UserError: The cluster cannot be reached, the port is taken, or MLflow has no such model or is away.
        SensoriumError: A model could not be served.
    """
    from sensorium.tracking.models import check as look_for

    if address is None:  # a cluster may have a store of its own
        for served in settings.models.values():
            look_for(served.model)
    import ray
    import ray.serve  # before the profile is set: with it, a handle here would want an event loop

    before, settings = dict(os.environ), called(settings, host)
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        if address is None:
            settings = shared(settings, os.cpu_count() or 1)
            os.environ.update(variables(Path(folder), port))
        try:
            connect(address, Plugins(present()), log=False)
            yield _deploy(settings, host, port)
        finally:
            if ray.is_initialized():
                _shut_down() if address is None else ray.shutdown()
            os.environ.clear()
            os.environ.update(before)


def change(address: str, updates: Mapping[str, str], rollbacks: list[str]) -> dict[str, Any]:
    """Brings models of a running application to other versions, or back; returns the state of all.

    Args:
        address: Cluster where it runs.
        updates: Name -> model.
        rollbacks: Names of models that go back to the version before.

    Raises:
        UserError: There is no such model, or nothing runs there.
        SensoriumError: The new version was tried and failed; the old one is still live.
    """
    import ray

    connect(address, Plugins(present()), log=False)
    try:
        return _change(updates, rollbacks)
    finally:
        ray.shutdown()


def wait() -> None:
    """Waits for Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def _deploy(settings: Settings, host: str, port: int) -> dict[str, str]:
    from ray import serve
    from ray.exceptions import RayError

    asked = {name: served.model for name, served in settings.models.items()}
    found = serve.status().applications.get(APPLICATION)
    if found is not None and {f"model-{name}" for name in asked} == {
        name for name in found.deployments if name.startswith("model-")
    }:
        state = _change(asked, [])
        return {name: each["version"] for name, each in state.items()}
    try:
        serve.start(http_options={"host": host, "port": port}, logging_config={"enable_access_log": False})
        serve.run(build(settings.model_dump()), name=APPLICATION, route_prefix="/")
    except (RuntimeError, TimeoutError, RayError) as cause:
        raise SensoriumError(
            f"The models could not be served: {str(cause).strip().splitlines()[-1]}",
            "",
            "`sensorium predict` asks a model without a server.",
        ) from cause
    return {name: each["version"] for name, each in _change({}, []).items()}


def _change(updates: Mapping[str, str], rollbacks: list[str]) -> dict[str, Any]:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        versions = serve.get_deployment_handle(VERSIONS, APPLICATION)
        versions.status.remote().result(timeout_s=PATIENCE)
    except (RayServeException, ValueError, KeyError) as cause:
        raise UserError("No model is served on this cluster.", "", "`sensorium serve MODEL` serves one.") from cause
    calls = [versions.update.remote(name, model) for name, model in updates.items()]
    calls += [versions.rollback.remote(name) for name in rollbacks]
    for call in calls:
        said = call.result(timeout_s=PATIENCE)
        if isinstance(said, Refusal):
            kind = UserError if said.status == 404 else SensoriumError
            raise kind(said.wrong, said.expected, said.hint or "What was live before is live still.")
    return dict(versions.status.remote().result(timeout_s=PATIENCE))


def _shut_down() -> None:
    """Answers what has come, then ends Serve and Ray, whose lines about what is gone by then nobody needs."""
    import ray
    from ray import serve
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    with _silent():
        with suppress(RayError, RayServeException, TimeoutError):  # the ingress is gone, so nothing is under way
            drained = serve.get_deployment_handle(INGRESS, APPLICATION).drain.remote(DRAIN)
            drained.result(timeout_s=DRAIN + 2)
        with suppress(RayServeException):
            internals.end_serve(END)
        ray.shutdown()


@contextmanager
def _silent() -> Iterator[None]:
    """Keeps out of the terminal what Ray writes there, from its C++ and from threads of its own."""
    streams = ((1, sys.stdout), (2, sys.stderr))
    before = {number: os.dup(number) for number, _ in streams}
    try:
        with Path(os.devnull).open("wb") as nowhere:
            for number, stream in streams:
                stream.flush()
                os.dup2(nowhere.fileno(), number)
        yield
    finally:
        for number, stream in streams:
            stream.flush()  # before, so that what is buffered goes nowhere, too
            os.dup2(before[number], number)
            os.close(before[number])


def named(models: list[str]) -> dict[str, str]:
    """Returns name -> model of `NAME=MODEL`; a model without a name is called after what it is.

    Raises:
        UserError: Two have one name.
    """
    found: dict[str, str] = {}
    for item in models:
        name, equals, model = item.partition("=")
        if not equals or "/" in name:
            name, model = _name(item), item
        if name in found:
            raise UserError(f"Two models are called {name!r}.", "Names are unique.", "Give NAME=MODEL.")
        found[name] = model
    return found


def _name(model: str) -> str:
    if model.startswith("models:/"):
        return model.removeprefix("models:/").partition("@")[0].partition("/")[0]
    from sensorium.engine.checkpoint import open_checkpoint
    from sensorium.tracking.models import fetch

    task: str = open_checkpoint(fetch(model)).entry("experiment", "task", str)
    return task.rpartition("/")[2].partition(".")[0]


def document(settings: Settings, host: str, port: int) -> dict[str, Any]:
    """Returns what `serve deploy` takes; it holds no key."""
    plain = called(settings, host).model_dump(mode="json", exclude={"key"}, exclude_defaults=True)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port},
        "applications": [
            {"name": APPLICATION, "route_prefix": "/", "import_path": f"{build.__module__}:build", "args": plain}
        ],
    }


def from_document(plain: Any) -> tuple[Settings, str, int]:
    """Returns settings, host and port of a file for `serve deploy`.

    Raises:
        UserError: It is none of Sensorium's.
    """
    try:
        (application,) = (each for each in plain["applications"] if each["name"] == APPLICATION)
        options = plain.get("http_options", {})
        return (
            check({"key": key_from_environment(), **application["args"]}),
            str(options.get("host", "127.0.0.1")),
            int(options.get("port", 8000)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise UserError(
            f"The file holds no application {APPLICATION!r} for Ray Serve.",
            "It looks like what `sensorium serve MODEL --write serve.yaml` writes.",
        ) from cause
