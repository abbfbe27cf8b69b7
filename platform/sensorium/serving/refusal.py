"""Refusals: an HTTP status with a sentence of what is wrong, what was expected, what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from sensorium.errors import SensoriumError


class Refusal(SensoriumError):  # noqa: N818 (it is an answer)
    """A request that is not answered.

    Args:
        status: HTTP status.
        wrong: What is wrong, as a sentence.
        expected: What was expected instead, as a sentence.
        hint: What to do next, as a sentence.
        headers: Further headers of the response.
    """

    def __init__(
        self, status: int, wrong: str, expected: str = "", hint: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(wrong, expected, hint)
        self.status, self.headers = status, dict(headers or {})

    def __reduce__(self) -> Any:
        return Refusal, (self.status, self.wrong, self.expected, self.hint, self.headers)

    def response(self) -> Response:
        """Returns it as JSON."""
        content = {"error": {"wrong": self.wrong, "expected": self.expected, "hint": self.hint}}
        text = json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
        return Response(text, self.status, self.headers, "application/json")
