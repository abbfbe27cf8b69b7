"""The OpenAPI document, made from what the models take and give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium import __version__
from sensorium.serving.description import Description, Input
from sensorium.serving.question import UNNAMED
from sensorium.serving.settings import Limits

REFUSALS = {
    "400": "The body cannot be read",
    "401": "The key is missing or wrong",
    "406": "The answer is not of the media types that are accepted",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "415": "The media type is wrong",
    "422": "An input is missing, unknown, or cannot be read",
    "503": "Too many requests are under way; Retry-After says when to try again",
    "504": "The model did not answer in time",
}


def document(models: Mapping[str, Description], limits: Limits) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of an endpoint."""
    paths: dict[str, Any] = {f"/models/{name}/predict": {"post": _predict(name, d)} for name, d in models.items()}
    if len(models) == 1:
        ((name, only),) = models.items()
        paths["/predict"] = {"post": {**_predict(name, only), "operationId": "predict"}}
    for path, what in (("/healthz", "Whether it runs"), ("/models", "The models"), ("/metrics", "For Prometheus")):
        paths[path] = {"get": {"summary": what, "responses": {"200": {"description": what}}}}
    bounds = f"{limits.body} bytes a body, {limits.max_pixels} pixels a picture, {limits.max_seconds:g} s a recording"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sensorium", "version": __version__, "description": f"At most {bounds}."},
        "paths": paths,
        "components": {
            "schemas": {"Error": _error()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }


def _predict(name: str, model: Description) -> dict[str, Any]:
    required = [field for field, each in model.inputs.items() if not each.optional]
    base = {"type": "object", "additionalProperties": False, "minProperties": 1}
    if required:
        base["required"] = required
    example = {field: each.example for field, each in model.inputs.items()}
    json_body = base | {"properties": {field: dict(each.schema) for field, each in model.inputs.items()}}
    form = base | {"properties": {field: _part(each) for field, each in model.inputs.items()}}
    encoding = {field: {"contentType": ", ".join((*each.accepts, UNNAMED))} for field, each in _files(model).items()}
    answer = {"type": "object", "properties": {key: dict(each.schema) for key, each in model.outputs.items()}}
    content: dict[str, Any] = {"application/json": {"schema": answer, "example": dict(model.answer)}}
    for each in model.outputs.values():
        if each.is_medium:
            content[each.media_type] = {"schema": {"type": "string", "format": "binary"}}
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    refusals = {status: {"description": why, "content": refusal} for status, why in REFUSALS.items()}
    return {
        "operationId": f"predict_{name}",
        "summary": model.summary,
        "tags": [name],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": json_body, "example": example},
                "multipart/form-data": {"schema": form, "encoding": encoding},
            },
        },
        "responses": {"200": {"description": "The answer", "content": content}, **refusals},
    }


def _files(model: Description) -> dict[str, Input]:
    return {field: each for field, each in model.inputs.items() if each.accepts}


def _part(each: Input) -> dict[str, Any]:
    return {"type": "string", "format": "binary"} if each.accepts else dict(each.schema)


def _error() -> dict[str, Any]:
    sentence = {"type": "string"}
    parts = {"wrong": sentence, "expected": sentence, "hint": sentence}
    inner = {"type": "object", "properties": parts, "required": list(parts)}
    return {"type": "object", "properties": {"error": inner}, "required": ["error"]}
