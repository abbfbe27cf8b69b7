"""Which version of each model is live: moved on, moved back, and followed when an alias moves."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from sensorium.errors import SensoriumError
from sensorium.runtime import internals
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits

FOLLOW = 5.0
"""Seconds between two looks at an alias."""

SEEN = 30.0
"""Seconds after which a replica that does not report is taken for gone; it does not while it loads."""

STATE = b"sensorium/serve/versions"
"""Key in the cluster's own store."""


logger = logging.getLogger("ray.serve")


class Versions:
    """Says to each replica what it is to serve. One of it runs in an application.

    A version goes live only after another process has loaded it and asked it a question: one that
    fails, or takes its process down, changes nothing.

    Args:
        models: Name -> model, as it was asked for.
        limits: As the replicas have them.
    """

    def __init__(self, models: dict[str, str], limits: dict[str, Any]) -> None:
        self.asked, self.limits = models, limits
        self.history: dict[str, list[str]] = {name: [_resolved(model)] for name, model in models.items()}
        self.following = {name: model for name, model in models.items() if "@" in model}
        self.refused: dict[str, str] = {}
        self.reports: dict[str, dict[str, tuple[str, float]]] = {name: {} for name in models}
        self._recall()
        self._task = asyncio.get_running_loop().create_task(self._follow()) if self.following else None

    async def current(self, name: str) -> str:
        """Returns the version that is to be live."""
        return self.history[name][-1]

    async def report(self, name: str, replica: str, version: str) -> tuple[str, str]:
        """Notes what a replica serves; returns what it is to serve, and what was refused since that went live."""
        self.reports[name][replica] = (version, time.monotonic())
        return self.history[name][-1], self.refused.get(name, "")

    async def update(self, name: str, model: str) -> str | Refusal:
        """Makes a model live once it was tried; returns its version when all replicas serve it."""
        if name not in self.history:
            return Refusal(404, f"There is no model {name!r}.", f"Known: {', '.join(self.history)}.")
        try:
            version = await asyncio.to_thread(_resolved, model)
        except SensoriumError as error:
            return Refusal(422, error.wrong, error.expected, error.hint)
        return await self._move(name, model, version)

    async def _move(self, name: str, model: str, version: str) -> str | Refusal:
        if version != self.history[name][-1]:
            refusal = await self._try(version)
            if refusal is not None:
                self.refused[name] = f"{version}: {refusal}"
                return refusal
            self.history[name].append(version)
        self.refused.pop(name, None)
        if "@" in model:
            self.following[name] = model
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._follow())
        else:
            self.following.pop(name, None)
        self._remember()
        return await self._settled(name)

    async def rollback(self, name: str) -> str | Refusal:
        """Makes the version before live again; an alias is not followed any more."""
        if len(self.history.get(name, ())) < 2:
            return Refusal(409, f"The model {name!r} has no earlier version.", f"Known: {', '.join(self.history)}.")
        self.following.pop(name, None)
        self.history[name].pop()
        self._remember()
        return await self._settled(name)

    async def status(self) -> dict[str, Any]:
        """Returns name -> what is live, what was before, what is followed, and what was refused last."""
        return {
            name: {
                "version": versions[-1],
                "earlier": versions[:-1],
                "follows": self.following.get(name, ""),
                "refused": self.refused.get(name, ""),
            }
            for name, versions in self.history.items()
        }

    async def _settled(self, name: str, patience: float = 120.0) -> str:
        """Returns the live version once every replica that reports serves it."""
        changed = time.monotonic()  # what was reported before may be a version that a replica was leaving
        while (now := time.monotonic()) < changed + patience:
            wanted = self.history[name][-1]
            alive = [report for report in self.reports[name].values() if now - report[1] < SEEN]
            if alive and all(version == wanted and when > changed for version, when in alive):
                break
            await asyncio.sleep(0.1)
        return self.history[name][-1]

    async def _try(self, version: str) -> Refusal | None:
        import ray
        from ray.exceptions import RayError

        trial = ray.remote(num_cpus=0, max_retries=0)(attempt)
        try:
            sentences = await trial.remote(version, self.limits)
        except RayError as error:
            return Refusal(422, f"{version} took the process down that tried it.", str(error).splitlines()[0])
        return Refusal(422, *sentences) if sentences else None

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW)
            for name, model in list(self.following.items()):
                try:
                    version = await asyncio.to_thread(_resolved, model)
                except SensoriumError as error:  # the registry is away: what is live stays
                    logger.warning(f"{model} could not be looked up: {error}")
                    continue
                if version == self.history[name][-1]:
                    self.refused.pop(name, None)  # the alias has moved back
                    continue
                if self.refused.get(name, "").startswith(f"{version}: "):
                    continue
                result = await self._move(name, model, version)
                if isinstance(result, Refusal):
                    logger.error(
                        f"{model} is now {version}, which cannot be served: {result}; {self.history[name][-1]} stays"
                    )
                else:
                    logger.info(f"{model} is now {version}, which is live")

    def _remember(self) -> None:
        content = {"asked": self.asked, "history": self.history, "following": self.following}
        internals.remember(STATE, json.dumps(content).encode())

    def _recall(self) -> None:
        found = internals.remembered(STATE)
        if found and (content := json.loads(found))["asked"] == self.asked:
            self.history, self.following = content["history"], content["following"]


def attempt(version: str, limits: dict[str, Any]) -> tuple[str, str, str] | None:
    """Loads a version and asks it a question; returns the sentences of what failed."""
    from sensorium.serving.served import load
    from sensorium.tracking.models import fetch

    try:
        load(fetch(version), version, Limits(**limits), 1)
    except SensoriumError as error:
        return error.wrong, error.expected, error.hint
    return None


def _resolved(model: str) -> str:
    from sensorium.tracking.models import resolve

    return resolve(model)
