"""The OpenAPI document, made from what the models take and give."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sensorium import __version__
from sensorium.serving.description import Description, Input
from sensorium.serving.question import UNNAMED
from sensorium.serving.search import HITS, MOST
from sensorium.serving.settings import Limits

REFUSALS = {
    "400": "The body cannot be read",
    "401": "The key is missing or wrong",
    "403": "The request comes from a page of another server",
    "406": "The answer is not of the media types that are accepted",
    "408": "The body came too slowly",
    "413": "The body is too large",
    "415": "The media type is wrong",
    "422": "An input is missing, unknown, or cannot be read",
    "421": "The server has another name",
    "503": "Too many requests are under way; Retry-After says when to try again",
    "504": "The model did not answer in time",
}


def document(models: Mapping[str, Description], limits: Limits, indexed: Collection[str] = ()) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of an endpoint; `indexed` names the models that can be searched."""
    paths: dict[str, Any] = {}
    for name, model in models.items():
        for verb, operation in _operations(name, model, name in indexed).items():
            paths[f"/models/{name}/{verb}"] = {"post": operation}
            if len(models) == 1:
                paths[f"/{verb}"] = {"post": {**operation, "operationId": verb}}
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


def _operations(name: str, model: Description, indexed: bool) -> dict[str, Any]:
    """Returns what a model can be asked: verb -> operation."""
    predict = _predict(name, model)
    operations = {"predict": predict}
    if model.embeddings:
        outputs = {output: dict(model.outputs[output].schema) for output in model.embeddings.values()}
        given = {output: model.answer[output] for output in outputs if output in model.answer}
        operations["embed"] = _variant(predict, f"embed_{name}", "The embeddings of an example", outputs, given)
    if model.embeddings and indexed:
        hit = {
            "id": {"type": "string"},
            "input": {"type": "string"},
            "score": {"type": "number"},
            "fields": {"type": "object"},
        }
        hits = {"type": "array", "items": {"type": "object", "properties": hit, "required": list(hit)}}
        summary = "What lies nearest to an example, best first"
        operations["search"] = _variant(predict, f"search_{name}", summary, {"hits": hits})
        count = {"type": "integer", "minimum": 1, "maximum": MOST, "default": HITS}
        operations["search"]["parameters"] = [
            {"name": "k", "in": "query", "description": "Hits at most", "schema": count}
        ]
        operations["search"]["responses"]["409"] = {
            **predict["responses"]["422"],
            "description": "The index was made with another model",
        }
    return operations


def _variant(
    predict: dict[str, Any], operation: str, summary: str, properties: dict[str, Any], example: Any = None
) -> dict[str, Any]:
    """Returns an operation that takes what `predict` takes, and gives something else."""
    content: dict[str, Any] = {"schema": {"type": "object", "properties": properties}}
    if example:
        content["example"] = example
    answer = {"description": "The answer", "content": {"application/json": content}}
    responses = {**predict["responses"], "200": answer}
    return {**predict, "operationId": operation, "summary": summary, "responses": responses}


def _files(model: Description) -> dict[str, Input]:
    return {field: each for field, each in model.inputs.items() if each.accepts}


def _part(each: Input) -> dict[str, Any]:
    return {"type": "string", "format": "binary"} if each.accepts else dict(each.schema)


def _error() -> dict[str, Any]:
    sentence = {"type": "string"}
    parts = {"wrong": sentence, "expected": sentence, "hint": sentence}
    inner = {"type": "object", "properties": parts, "required": list(parts)}
    return {"type": "object", "properties": {"error": inner}, "required": ["error"]}
