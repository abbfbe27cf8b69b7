"""Models on Ray Serve: one application of an ingress, a deployment for each model, and the keeper of versions.

`serve deploy` takes it as `import_path: sensorium.runtime.serve:build`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sensorium.serving.description import Description
from sensorium.serving.refusal import Refusal
from sensorium.serving.service import Answer
from sensorium.serving.settings import Limits, Served, Settings, check, key_from_environment

APPLICATION = "sensorium"
INGRESS = "ingress"
VERSIONS = "versions"
REPORT = 0.5
"""Seconds between two reports of a replica, which learns by them of a new version."""

RETRIES = 5
"""Times that a question is asked again when the replica that had it is lost."""

LONGEST = "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"
"""Variable by which Ray Serve bounds what ingress and replica tell each other."""

MESSAGE = (1 << 31) - 1
"""Bytes of a question or an answer between ingress and replica: what gRPC can carry. Ray's default is 4 MiB; what
a body may hold is bounded before, where it arrives."""

logger = logging.getLogger("ray.serve")


def build(args: dict[str, Any]) -> Any:
    """Returns the Serve application of settings as plain data.

    Raises:
        UserError: An option is unknown or out of range.
    """
    from ray import serve

    settings = check({"key": key_from_environment(), **args})
    limits = settings.limits.model_dump()
    asked = {name: served.model for name, served in settings.models.items()}
    versions = (
        serve.deployment(_versions())
        .options(name=VERSIONS, num_replicas=1, max_ongoing_requests=1000, ray_actor_options=_actor(num_cpus=0))
        .bind(asked, limits)
    )
    indexes = {name: served.index for name, served in settings.models.items() if served.index}
    models = {name: _model(name, served, settings, versions) for name, served in settings.models.items()}
    return (
        serve.deployment(serve.ingress()(Ingress))
        .options(
            name=INGRESS,
            num_replicas=1,
            # The ingress counts for itself, and answers what is too much at once.
            max_ongoing_requests=100_000,
            max_surge_percent=100,
            graceful_shutdown_wait_loop_s=0.2,
            ray_actor_options=_actor(num_cpus=0),
        )
        .bind(models, limits, settings.key, indexes, settings.hosts)
    )


def _versions() -> type:
    from sensorium.runtime.versions import Versions

    return Versions


def _model(name: str, served: Served, settings: Settings, versions: Any) -> Any:
    from ray import serve

    fewest, most = served.replicas
    cores = 1.0 if served.num_cpus is None else served.num_cpus
    scale: dict[str, Any] = {"num_replicas": fewest}
    if most > fewest:
        scale = {
            "autoscaling_config": {
                "min_replicas": fewest,
                "max_replicas": most,
                "target_ongoing_requests": max(2, served.max_batch // 2),
            }
        }
    return (
        serve.deployment(Model)
        .options(
            name=f"model-{name}",
            max_ongoing_requests=settings.limits.waiting,
            max_surge_percent=100,
            max_constructor_retry_count=2,
            health_check_period_s=5,
            health_check_timeout_s=20,
            graceful_shutdown_wait_loop_s=0.2,
            ray_actor_options=_actor(cores, served.num_gpus),
            **scale,
        )
        .bind(name, cores, served.max_batch, settings.limits.model_dump(), versions)
    )


def _actor(num_cpus: float, num_gpus: float = 0.0) -> dict[str, Any]:
    # With the actors, as a cluster that is joined was started without it.
    return {"num_cpus": num_cpus, "num_gpus": num_gpus, "runtime_env": {"env_vars": {LONGEST: str(MESSAGE)}}}


class Ingress:
    """Takes the requests of HTTP apart and asks the models. Knows them by what they say of themselves."""

    def __init__(
        self,
        models: Mapping[str, Any],
        limits: dict[str, Any],
        key: str,
        indexes: Mapping[str, str],
        hosts: Collection[str],
    ) -> None:
        self.models, self.limits, self.key, self.indexes = dict(models), Limits(**limits), key, indexes
        self.hosts = hosts

    def __serve_build_asgi_app__(self) -> Any:
        """Returns the endpoint."""
        from sensorium.inference.index import Index
        from sensorium.serving.application import application

        backends = {name: Remote(handle) for name, handle in self.models.items()}
        indexes = {name: Index(folder) for name, folder in self.indexes.items()}
        app = application(backends, self.limits, self.key, indexes, self.hosts)
        self.service = app.state.service
        return app

    async def drain(self, seconds: float) -> int:
        """Takes no more questions, and waits for the answers to those that came; returns how many are left."""
        left: int = await self.service.drain(seconds)
        return left


class Remote:
    """A model behind a handle. Questions change nothing, so one whose replica is lost is asked again."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle.options(_by_reference=False)  # by gRPC: Ray's default takes a stream of objects

    async def describe(self) -> Description:
        """Returns what it takes and gives."""
        description: Description = await self._call("describe")
        return description

    async def ask(self, example: Mapping[str, Any]) -> Answer:
        """Returns its answer.

        Raises:
            Refusal: The example cannot be read, or makes no sense.
        """
        said = await self._call("ask", dict(example))
        if isinstance(said, Refusal):
            raise said
        answer: Answer = said
        return answer

    async def _call(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, OwnerDiedError

        for left in reversed(range(RETRIES + 1)):
            try:
                return await getattr(self.handle, method).remote(*arguments)
            except (ActorDiedError, ActorUnavailableError, NodeDiedError, OwnerDiedError) as error:
                if not left:
                    raise
                logger.warning(f"a replica was lost, {method} is asked again: {type(error).__name__}")
                await asyncio.sleep(0.05)
        raise AssertionError


class Model:
    """One replica of a model: serves the version that is live, and changes it between two batches."""

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, name: str, cores: float, max_batch: int, limits: dict[str, Any], versions: Any
    ) -> None:
        import torch
        from ray import serve

        from sensorium.serving.served import Local

        self.name, self.max_batch, self.limits, self.versions = name, max_batch, Limits(**limits), versions
        self.replica = serve.get_replica_context().replica_id.unique_id
        self.refused = ""
        self.version: str = await versions.current.remote(name)
        # Ray gives torch a thread for each core of the replica; where OMP_NUM_THREADS says fewer, cores are left.
        lanes = max(1, int(cores) // torch.get_num_threads())
        self.local = Local(await asyncio.to_thread(self._load, self.version), lanes, self.limits.memory)
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def describe(self) -> Description:
        """Returns what it takes and gives, and which version was refused."""
        return replace(await self.local.describe(), refused=self.refused)

    async def ask(self, example: Mapping[str, Any]) -> Answer | Refusal:
        """Returns its answer, or why there is none."""
        try:
            return await self.local.ask(example)
        except Refusal as refusal:
            return refusal

    async def _follow(self) -> None:
        from ray.exceptions import RayError
        from ray.serve.exceptions import RayServeException

        while True:
            await asyncio.sleep(REPORT)
            try:
                wanted, self.refused = await self.versions.report.remote(self.name, self.replica, self.version)
            except (RayError, RayServeException) as error:  # it is being replaced; what is live stays
                logger.warning(f"{self.name}: the keeper of versions does not answer: {error}")
                continue
            if wanted == self.version:
                continue
            try:
                ready = await asyncio.to_thread(self._load, wanted)
            except Exception:  # whatever is wrong with it, the old version goes on
                logger.exception(f"{self.name}: {wanted} cannot be served; {self.version} stays")
                await asyncio.sleep(5)
                continue
            self.local.use(ready)
            self.version = wanted
            logger.info(f"{self.name}: {wanted} is live")

    def _load(self, version: str) -> Any:
        from sensorium.serving.served import load
        from sensorium.tracking.models import fetch

        ready = load(fetch(version), version, self.limits, self.max_batch)
        logger.info(f"{self.name}: {version}: {ready.curve}")
        return ready
