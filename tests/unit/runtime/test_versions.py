"""Which version is live: an alias that moves to a model that cannot be loaded changes nothing, and that is told."""

import asyncio
import logging

import pytest

from sensorium.runtime import versions as module
from sensorium.runtime.versions import Versions
from sensorium.serving.refusal import Refusal

ALIAS = "models:/digits@champion"


@pytest.fixture
def registry(monkeypatch):
    """Where the alias points, in a process without Ray; `models:/digits/2` is broken."""
    points = {ALIAS: "models:/digits/1"}

    async def tried(self, version):
        return Refusal(422, "The weights break off.") if version.endswith("/2") else None

    async def settled(self, name, patience=120.0):
        return self.history[name][-1]

    monkeypatch.setattr(module, "_resolved", lambda model: points.get(model, model))
    monkeypatch.setattr(module, "FOLLOW", 0.02)
    monkeypatch.setattr(Versions, "_try", tried)
    monkeypatch.setattr(Versions, "_settled", settled)
    monkeypatch.setattr(Versions, "_remember", lambda self: None)
    monkeypatch.setattr(Versions, "_recall", lambda self: None)
    return points


def test_an_alias_that_moves_to_a_broken_model_leaves_the_old_one_and_is_told(registry, caplog):
    async def run():
        keeper = Versions({"clip": ALIAS}, {})
        said = [await keeper.report("clip", "replica", "models:/digits/1")]
        for version in ("2", "1", "3"):
            registry[ALIAS] = f"models:/digits/{version}"
            for _ in range(1000):  # looked at every 20 ms, later on a busy machine
                await asyncio.sleep(0.01)
                now = await keeper.report("clip", "replica", "models:/digits/1")
                if now != said[-1]:
                    break
            said.append(now)
        keeper._task.cancel()
        return said

    with caplog.at_level(logging.INFO, "ray.serve"):
        logging.getLogger("ray.serve").propagate = True
        said = asyncio.run(run())
    refused = "models:/digits/2: The weights break off."
    assert said == [
        ("models:/digits/1", ""),
        ("models:/digits/1", refused),
        ("models:/digits/1", ""),
        ("models:/digits/3", ""),
    ]
    records = [record for record in caplog.records if record.name == "ray.serve"]
    # A set: once Serve is imported, the logger has handlers on two levels, which both hear a line.
    (line,) = {record.getMessage() for record in records if record.levelno == logging.ERROR}
    assert line == (
        f"{ALIAS} is now models:/digits/2, which cannot be served: The weights break off.; models:/digits/1 stays"
    )
