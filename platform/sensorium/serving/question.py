"""The body of a request, read within its limits and taken apart into an example: JSON, or multipart."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sensorium.errors import unknown
from sensorium.serving.description import Input
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits

UNNAMED = "application/octet-stream"
"""What clients call a file whose type they do not know; its content decides."""

FORMS = "A JSON object with base64 for media (application/json), or a form with files (multipart/form-data)"


async def read_question(request: Request, inputs: Mapping[str, Input], limits: Limits) -> dict[str, Any]:
    """Returns field -> raw value: bytes of files, strings of texts, and what JSON holds.

    Raises:
        Refusal: It is too large, too slow, of another type, or not what the inputs take.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise Refusal(415, f"The body is {kind or 'of no type'}.", f"{FORMS} was expected.", "Set Content-Type.")
    body = await read_body(request, limits)
    if kind == "application/json":
        given = {name: _from_json(name, value, inputs) for name, value in _object(body).items()}
    else:
        given = await _form(request.headers, body, inputs, limits)
    missing = [name for name, each in inputs.items() if not each.optional and name not in given]
    if missing or not given:
        _refuse(422, f"Missing: {', '.join(missing) or 'an input'}.", f"Inputs are {', '.join(inputs)}.")
    return given


async def read_body(request: Request, limits: Limits) -> bytes:
    """Returns the body; stops reading at the limit.

    Raises:
        Refusal: It is larger than the limit, or did not arrive in time.
    """
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > limits.body:
        _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.arrival):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    _too_large(limits)
    except TimeoutError as cause:
        raise Refusal(
            408,
            f"The body did not arrive within {limits.arrival:g} s.",
            f"{len(body)} bytes came.",
            "Send it again.",
            {"Connection": "close"},
        ) from cause
    except ClientDisconnect as cause:
        raise Refusal(400, "The connection was closed before the body was whole.") from cause
    return bytes(body)


def _too_large(limits: Limits) -> NoReturn:
    raise Refusal(
        413,
        "The body is too large.",
        f"At most {limits.body} bytes were expected.",
        "Send smaller media.",
        {"Connection": "close"},
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as cause:
        raise Refusal(400, "The JSON is not UTF-8.", f"Byte {cause.start} cannot be read.", "Encode it so.") from cause
    except (ValueError, RecursionError) as cause:
        raise Refusal(400, f"The body is no JSON ({str(cause)[:120]}).", "A JSON object was expected.") from cause
    if not isinstance(content, dict):
        _refuse(422, f"The JSON is a {type(content).__name__}.", "An object, field -> value, was expected.")
    return content


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _from_json(name: str, value: Any, inputs: Mapping[str, Input]) -> Any:
    taken = _input(name, inputs)
    if not taken.accepts:
        return _held(name, value, taken)
    if not isinstance(value, str):
        _refuse(422, f"Input {name!r} is a {type(value).__name__}.", "A string with base64 was expected.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise Refusal(
            422, f"Input {name!r} is no base64 ({cause}).", "The file's bytes as base64 were expected."
        ) from (cause)


def _held(name: str, value: Any, taken: Input) -> Any:
    """Returns a value that JSON holds. A string passes where strings are declared: `decode` may open paths."""
    if taken.schema.get("type") != "string" and _holds_string(value):
        _refuse(422, f"Input {name!r} holds a string.", f"Its schema is {json.dumps(dict(taken.schema))[:200]}.")
    return value


def _holds_string(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_string(each) for each in value.values())
    return isinstance(value, str) or (isinstance(value, list) and any(map(_holds_string, value)))


async def _form(
    headers: Headers, body: bytes, inputs: Mapping[str, Input], limits: Limits
) -> dict[str, bytes | str | Any]:
    async def whole() -> AsyncIterator[bytes]:
        yield body

    parser = _Parser(headers, whole(), max_files=64, max_fields=64, max_part_size=limits.body)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, KeyError) as cause:
        why = getattr(cause, "message", None) or str(cause)
        raise Refusal(400, f"The form cannot be read ({why}).", FORMS + " was expected.") from cause
    given: dict[str, Any] = {}
    for name, part in form.multi_items():
        if name in given:
            _refuse(422, f"Input {name!r} is there twice.", "Each input once was expected.")
        content: str | bytes = await part.read() if isinstance(part, UploadFile) else part
        kind = (part.content_type or UNNAMED) if isinstance(part, UploadFile) else ""
        given[name] = _from_part(name, content, kind.partition(";")[0].strip().lower(), inputs)
    return given


class _Parser(MultiPartParser):
    """Keeps files in memory; the body was bounded before."""

    spool_max_size = 1 << 62


def _from_part(name: str, content: str | bytes, kind: str, inputs: Mapping[str, Input]) -> Any:
    taken = _input(name, inputs)
    if taken.accepts:
        if isinstance(content, str):
            _refuse(422, f"Input {name!r} is a text.", f"A file of {', '.join(taken.accepts)} was expected.")
        if kind not in (*taken.accepts, UNNAMED):
            _refuse(415, f"Input {name!r} is {kind}.", f"{', '.join(taken.accepts)} was expected.")
        return content
    if kind not in ("", "text/plain", "application/json", UNNAMED):
        _refuse(415, f"Input {name!r} is {kind}.", "Text (text/plain) or JSON (application/json) was expected.")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise Refusal(400, f"Input {name!r} is not UTF-8.", f"Byte {cause.start} cannot be read.") from cause
    if taken.schema.get("type") == "string":
        return text
    try:
        return _held(name, json.loads(text, parse_constant=_no_number), taken)
    except (ValueError, RecursionError) as cause:
        raise Refusal(422, f"Input {name!r} is no JSON ({str(cause)[:120]}).") from cause


def _input(name: str, inputs: Mapping[str, Input]) -> Input:
    if name not in inputs:
        error = unknown("input", name, inputs)
        _refuse(422, error.wrong, error.expected, error.hint)
    return inputs[name]


def _refuse(status: int, wrong: str, expected: str = "", hint: str = "") -> NoReturn:
    raise Refusal(status, wrong, expected, hint)
