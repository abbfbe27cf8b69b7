"""The response to a question: JSON, or the medium itself when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from sensorium.serving.description import Output, as_json
from sensorium.serving.refusal import Refusal

ANY = ("*/*", "application/*", "application/json")


def wanted(accept: str, outputs: Mapping[str, Output]) -> str:
    """Returns the media type to answer with: JSON, or that of an output, as an Accept header prefers.

    Raises:
        Refusal: The model gives nothing of the types that are accepted.
    """
    media = {output.media_type for output in outputs.values() if output.is_medium}
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    for kind, _ in sorted((each for each in ranges if each[1] > 0), key=lambda each: -each[1]):
        if kind in ANY:
            return "application/json"
        if kind in media:
            return kind
    if not ranges:
        return "application/json"
    given = ", ".join(["application/json", *sorted(media)])
    raise Refusal(406, f"The answer is not {accept}.", f"It can be {given}.", "Change the Accept header.")


def respond(answer: Mapping[str, Any], kind: str, outputs: Mapping[str, Output], version: str) -> Response:
    """Returns the response.

    Raises:
        Refusal: Not exactly one output is of the type that was asked for.
    """
    headers = {"X-Model-Version": version.encode("ascii", "replace").decode()}
    if kind == "application/json":
        content = json.dumps({name: as_json(value) for name, value in answer.items()}, ensure_ascii=False)
        return Response(content.encode(), 200, headers, kind)
    found = [name for name in answer if outputs[name].media_type == kind]
    if len(found) != 1:
        raise Refusal(
            406,
            f"{len(found)} outputs of this answer are {kind}.",
            "One was expected.",
            "Take application/json, which holds all of them.",
        )
    return Response(answer[found[0]], 200, headers, kind)


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return kind, float(value)
            except ValueError:
                return kind, 0.0
    return kind, 1.0
