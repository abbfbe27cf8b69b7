"""Options that modalities take from the published weights of what reads them: a picture's size, mean and deviation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from sensorium.contracts.modality import Modality
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
        fields = [place[-1]] if place[-1] in plain else list(plain)
        for field in fields if wanted else ():
            if _form(plain[field], wanted, plugins) in found.takes:
                options = plugins.find("modality", plain[field]["name"]).Config.__dataclass_fields__
                plain[field] = {**{key: each for key, each in wanted.items() if key in options}, **plain[field]}
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


def _form(modality: Any, wanted: Mapping[str, Any], plugins: Plugins) -> str | None:
    """Returns the form of a modality; where options decide it, that with what an encoder wants."""
    if not isinstance(modality, Mapping) or modality.get("name") not in plugins.names("modality"):
        return None
    form = getattr(plugins.find("modality", str(modality["name"])), "form", None)
    if form is None:
        with contextlib.suppress(UserError):
            form = component(Modality, {**wanted, **modality}, plugins, "modalities").build().form
    return form
