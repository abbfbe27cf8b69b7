"""Options that modalities take from the published weights of what reads them: a picture's size, mean and deviation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sensorium.contracts.parts import Encoder
from sensorium.errors import UserError
from sensorium.experiment.parsing import component
from sensorium.plugins import Plugins


def suited(data: Mapping[str, Any], plugins: Plugins) -> dict[str, Any]:
    """Returns an experiment whose modalities have the options that its encoders' weights were trained with.

    An encoder at `encoders.FIELD` is that of a field; any other, such as `encoder`, that of all fields whose form it
    takes. What the experiment says itself stays.

    Raises:
        UserError: Options of an encoder do not fit.
    """
    modalities = data.get("modalities")
    if not isinstance(modalities, Mapping) or not isinstance(data.get("model"), Mapping):
        return dict(data)
    plain = {field: {"name": each} if isinstance(each, str) else each for field, each in modalities.items()}
    for place, node, trained in _encoders(data["model"], plugins):
        try:
            wanted = component(Encoder, node, plugins, f"model.{'.'.join(place)}").suits()
        except UserError:
            if not trained:
                raise
            continue  # the weights that it began with are not needed any more
        found = plugins.find("encoder", node["name"])
        assert issubclass(found, Encoder)
        fields = [place[-1]] if place[-1] in plain else _read(plain, found, plugins)
        for field in fields if wanted else ():
            plain[field] = {**wanted, **plain[field]}
    return {**data, "modalities": plain}


def _encoders(
    node: Any, plugins: Plugins, place: tuple[str, ...] = (), trained: bool = False
) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Yields the encoders of a model that name weights, with place, and whether a trained task's weights follow."""
    if not isinstance(node, Mapping):
        return
    weighted = node.get("weights") is not None
    if place and weighted and node.get("name") in plugins.names("encoder"):
        yield place, node, trained
    for key, inner in node.items():
        yield from _encoders(inner, plugins, (*place, str(key)), trained or weighted)


def _read(modalities: Mapping[str, Any], encoder: type[Encoder], plugins: Plugins) -> list[str]:
    """Returns the fields whose modality is of a form that an encoder takes."""
    known = {field: each.get("name") for field, each in modalities.items() if isinstance(each, Mapping)}
    there = plugins.names("modality")
    return [
        field
        for field, name in known.items()
        if name in there and getattr(plugins.find("modality", str(name)), "form", None) in encoder.takes
    ]
