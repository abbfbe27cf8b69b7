"""The body of a request, taken apart into an example: JSON, or multipart."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NoReturn

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from sensorium.errors import unknown
from sensorium.serving.description import Input
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits

UNNAMED = "application/octet-stream"
"""What clients call a file whose type they do not know; its content decides."""

CHARSETS = ("utf-8", "utf8", "us-ascii")

DEPTH = 64
"""Lists and objects of JSON that may lie within one another; what handles them calls itself for each."""

FORMS = "A JSON object with base64 for media (application/json), or a form with files (multipart/form-data)"


def check_type(headers: Headers) -> str:
    """Returns the media type of a body.

    Raises:
        Refusal: It is neither JSON nor a form, or a form in another encoding than UTF-8.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise Refusal(415, f"The body is {kind or 'of no type'}.", f"{FORMS} was expected.", "Set Content-Type.")
    charset = parse_options_header(headers["content-type"])[1].get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() not in CHARSETS:
        raise Refusal(415, f"The body is in {charset[:40]!r}.", "UTF-8 was expected.", "Leave charset out.")
    return kind


async def read_question(headers: Headers, body: bytes, inputs: Mapping[str, Input], limits: Limits) -> dict[str, Any]:
    """Returns field -> raw value: bytes of files, strings of texts, and what JSON holds.

    Raises:
        Refusal: The body is of another type, broken, or not what the inputs take.
    """
    if check_type(headers) == "application/json":
        given = {name: _from_json(name, value, inputs) for name, value in _object(body).items()}
    else:
        given = await _form(headers, body, inputs, limits)
    missing = [name for name, each in inputs.items() if not each.optional and name not in given]
    if missing or not given:
        _refuse(422, f"Missing: {', '.join(missing) or 'an input'}.", f"Inputs are {', '.join(inputs)}.")
    return given


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = _loaded(body.decode("utf-8"))
    except UnicodeDecodeError as cause:
        raise Refusal(400, "The JSON is not UTF-8.", f"Byte {cause.start} cannot be read.", "Encode it so.") from cause
    except (ValueError, RecursionError) as cause:
        raise Refusal(400, f"The body is not JSON ({str(cause)[:120]}).", "A JSON object was expected.") from cause
    if not isinstance(content, dict):
        _refuse(422, "The JSON is not an object.", "An object, field -> value, was expected.")
    return content


def _loaded(text: str) -> Any:
    """Returns what JSON holds.

    Raises:
        ValueError: It is broken, too deep, has a key twice, or a number that neither 64 bits nor a float of them hold.
    """
    content = json.loads(
        text, parse_constant=_no_number, parse_int=_whole, parse_float=_finite, object_pairs_hook=_once
    )
    level, depth = [content], 0
    while level := [each for each in level if isinstance(each, (list, dict))]:
        if (depth := depth + 1) > DEPTH:
            raise ValueError(f"over {DEPTH} lists and objects lie within one another")
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return content


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(1 << 63) <= (number := int(digits)) < 1 << 63:
        raise ValueError(f"{digits[:20]} is beyond 64 bits")
    return number


def _finite(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits[:20]} is beyond what a float holds")
    return number


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key {key[:40]!r} is there twice")
        content[key] = value
    return content


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _from_json(name: str, value: Any, inputs: Mapping[str, Input]) -> Any:
    taken = _input(name, inputs)
    if not taken.accepts:
        return _held(name, value, taken)
    if not isinstance(value, str):
        _refuse(422, f"Input {name!r} is not a string.", "A string with base64 was expected.")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as cause:
        raise Refusal(
            422, f"Input {name!r} is not base64 ({cause}).", "The file's bytes as base64 were expected."
        ) from (cause)


def _held(name: str, value: Any, taken: Input) -> Any:
    """Returns a value that JSON holds. Strings pass where strings are declared: `decode` may open paths."""
    if _strays(value, taken.schema):
        _refuse(422, f"Input {name!r} holds a string.", f"Its schema is {json.dumps(dict(taken.schema))[:200]}.")
    return value


def _strays(value: Any, schema: Any) -> bool:
    """Says whether a string lies where a JSON Schema declares none."""
    declared: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, dict):
        fields = declared.get("properties", {})
        return any(_strays(each, fields.get(key, declared.get("additionalProperties"))) for key, each in value.items())
    if isinstance(value, list):
        return any(_strays(each, declared.get("items")) for each in value)
    return isinstance(value, str) and declared.get("type") != "string"


async def _form(
    headers: Headers, body: bytes, inputs: Mapping[str, Input], limits: Limits
) -> dict[str, bytes | str | Any]:
    async def whole() -> AsyncIterator[bytes]:
        yield body

    parser = _Parser(headers, whole(), max_files=64, max_fields=64, max_part_size=limits.body)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError) as cause:
        why = getattr(cause, "message", None) or str(cause)
        raise Refusal(400, f"The form cannot be read ({why}).", FORMS + " was expected.") from cause
    if body and not parser.ended:
        _refuse(400, "The form breaks off.", "The boundary that closes it was expected.", "Send it again.")
    given: dict[str, Any] = {}
    for sent, part in form.multi_items():
        name = _called(sent, inputs)
        if name in given:
            _refuse(422, f"Input {name!r} is there twice.", "Each input once was expected.")
        content: str | bytes = await part.read() if isinstance(part, UploadFile) else part
        kind = (part.content_type or UNNAMED) if isinstance(part, UploadFile) else ""
        given[name] = _from_part(name, content, kind.partition(";")[0].strip().lower(), inputs)
    return given


def _called(name: str, inputs: Mapping[str, Input]) -> str:
    """Returns the input that a part is for, whose name clients write in more than one way.

    Raises:
        Refusal: It could be for two of them.
    """
    meant = [each for each in inputs if name == each or _written(name) == _written(each)]
    if len(meant) > 1:
        _refuse(422, f"The form's field {name!r} may be any of {meant!r}.", "A form tells no difference.", "Send JSON.")
    return meant[0] if meant else name


def _written(name: str) -> str:
    """Returns what a name is in every client's form: a line end %0D%0A, a quote %22, backslashes one of them.

    HTML makes one kind of all line ends, others keep theirs; what reads headers takes a backslash for an escape.
    """
    return re.sub(r"\\+", r"\\", re.sub("(\r|%0D)?(\n|%0A)|\r|%0D", "%0D%0A", name)).replace('"', "%22")


class _Parser(MultiPartParser):
    """Keeps files in memory, as the body was bounded before, and tells whether the form was whole."""

    spool_max_size = 1 << 62
    ended = False

    def on_part_end(self) -> None:
        """Refuses a text that is not UTF-8, which Starlette would take for Latin-1."""
        if self._current_part.file is None:
            self._current_part.data.decode("utf-8")
        super().on_part_end()

    def on_end(self) -> None:
        """Notes that the closing boundary came."""
        self.ended = True


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
        return _held(name, _loaded(text), taken)
    except (ValueError, RecursionError) as cause:
        raise Refusal(422, f"Input {name!r} is not JSON ({str(cause)[:120]}).") from cause


def _input(name: str, inputs: Mapping[str, Input]) -> Input:
    if name not in inputs:
        error = unknown("input", name, inputs)
        _refuse(422, error.wrong, error.expected, error.hint)
    return inputs[name]


def _refuse(status: int, wrong: str, expected: str = "", hint: str = "") -> NoReturn:
    raise Refusal(status, wrong, expected, hint)
