"""The form of a page, made by Gradio from what a model takes and gives."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI

from sensorium.serving.description import Description, Input, Output
from sensorium.serving.question import UNNAMED
from sensorium.serving.settings import Limits

TIDY = (60, 600)
"""Seconds between two looks for files of visitors, and their age at which they are removed."""


def page(app: FastAPI, name: str, model: Description, limits: Limits) -> FastAPI:
    """Returns the page of a model as an application of its own.

    Args:
        app: The endpoint, which is asked.
        name: The model.
        model: What it takes and gives.
        limits: What a question may cost.
    """
    import gradio as gr

    with gr.Blocks(title=f"Sensorium: {name}", analytics_enabled=False, delete_cache=TIDY) as blocks:
        gr.Markdown(f"# {name}\n{model.summary}")
        with gr.Row():
            with gr.Column():
                inputs = [_input(field, each) for field, each in model.inputs.items()]
                button = gr.Button("Ask", variant="primary")
            with gr.Column():
                outputs = [_output(field, each) for field, each in model.outputs.items()]

        async def ask(request: Any, *values: Any) -> list[Any]:
            files = dict(_part(field, value, model) for field, value in zip(model.inputs, values, strict=True))
            answer = await _asked(app, name, {field: part for field, part in files.items() if part}, request)
            return [
                gr.update(value=shown(answer[field], each), visible=True) if field in answer else gr.update(value=None)
                for field, each in model.outputs.items()
            ]

        ask.__annotations__["request"] = gr.Request  # Gradio hands it over by the type
        button.click(ask, inputs, outputs, api_visibility="private", concurrency_limit=None)
    for component in inputs:
        component.async_move_resource_to_block_cache = _uploaded
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    made: FastAPI = gr.mount_gradio_app(
        FastAPI(openapi_url=None, docs_url=None, redoc_url=None),
        blocks,
        f"/models/{name}/page",
        footer_links=[],
        run_history=False,
        max_file_size=limits.body,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        theme=theme,
    )
    return made


def shown(value: Any, output: Output) -> Any:
    """Returns a value of an answer, as JSON holds it, for its place on the page."""
    if output.is_medium:
        return _player(output.media_type, value)
    if _is_grid(output.schema):
        return _player("image/png", base64.b64encode(_heat(value)).decode())
    if isinstance(value, str) or _is_chances(output.schema):
        return value
    return json.dumps(value, ensure_ascii=False)


def _input(name: str, taken: Input) -> Any:
    import gradio as gr

    label = f"{name} (optional)" if taken.optional else name
    kinds = {kind.partition("/")[0] for kind in taken.accepts}
    if kinds == {"image"}:
        picture = gr.Image(label=label, sources=["upload", "webcam", "clipboard"], height=240, buttons=[])
        picture.preprocess = _path
        return picture
    if kinds == {"audio"}:
        return gr.Audio(label=label, sources=["upload", "microphone"], type="filepath", buttons=[])
    if taken.accepts:
        return gr.File(label=label, type="filepath")
    if "enum" in taken.schema:
        return gr.Dropdown(list(taken.schema["enum"]), label=label, value=None)
    if taken.schema.get("type") == "string":
        return gr.Textbox(label=label, placeholder=str(taken.example))
    return gr.Textbox(label=label, info="JSON", placeholder=json.dumps(taken.example, ensure_ascii=False))


def _path(payload: Any) -> str | None:
    """Returns the path of a picture's file as it came; Gradio itself would decode it, beyond the limits."""
    return None if payload is None else str(payload.path)


def _output(name: str, given: Output) -> Any:
    import gradio as gr

    if given.is_medium or _is_grid(given.schema):
        return gr.HTML(label=name, show_label=True, container=True, visible=False)
    if _is_chances(given.schema):
        return gr.Label(label=name, visible=False)
    return gr.Textbox(label=name, interactive=False, max_lines=6, visible=False)


async def _uploaded(path: Any) -> str | None:
    """Returns the path of a file that was uploaded; an address, which Gradio would fetch, is none."""
    if path is not None and "://" in str(path):
        raise ValueError("a file was expected, not an address")
    return None if path is None else str(path)


def _part(name: str, value: Any, model: Description) -> tuple[str, Any]:
    """Returns the part of a multipart question for what stands in the form; None leaves it out."""
    taken = model.inputs[name]
    if value is None or (value == "" and taken.optional):
        return name, None
    if taken.accepts:
        return name, ("file", Path(value).read_bytes(), UNNAMED)
    return name, (None, value.encode(), "text/plain")


async def _asked(app: FastAPI, name: str, parts: Mapping[str, Any], request: Any) -> dict[str, Any]:
    """Returns what `predict` answers, asked within this process."""
    import gradio as gr
    import httpx

    key = {field: value for field, value in request.headers.items() if field.lower() == "authorization"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        body: dict[str, Any] = {"files": parts} if parts else {"json": {}}  # a form without a part is none
        response = await client.post(f"/models/{name}/predict", headers=key, timeout=None, **body)
    content: dict[str, Any] = response.json()
    if response.status_code != 200:
        text = " ".join(part for part in content["error"].values() if part)
        raise gr.Error(html.escape(text), duration=None, print_exception=False)
    return content


def _player(kind: str, content: str) -> str:
    """Returns a medium, base64, as HTML that holds it."""
    address = f"data:{html.escape(kind)};base64,{content}"
    if kind.startswith("image/"):
        style = "margin-top: 2em; min-width: 12em; max-width: 100%; image-rendering: pixelated"
        return f'<img src="{address}" style="{style}">'
    if kind.startswith(("audio/", "video/")):
        tag = kind.partition("/")[0]
        return f'<{tag} controls src="{address}" style="margin-top: 2em; width: 100%"></{tag}>'
    return f'<a download="answer" href="{address}">{html.escape(kind)}</a>'


def _heat(rows: list[list[float]]) -> bytes:
    """Returns a matrix as a PNG, from its lowest value in dark blue to its highest in yellow."""
    import matplotlib
    from PIL import Image as Pillow

    values = np.asarray(rows, dtype=np.float64)
    span = np.ptp(values) or 1.0
    colours = matplotlib.colormaps["viridis"]((values - values.min()) / span, bytes=True)
    buffer = io.BytesIO()
    Pillow.fromarray(colours).save(buffer, "PNG")
    return buffer.getvalue()


def _is_chances(schema: Mapping[str, Any]) -> bool:
    """Tells whether values may be name -> number."""
    forms = (schema, *schema.get("oneOf", ()))
    return any(form.get("additionalProperties") == {"type": "number"} for form in forms)


def _is_grid(schema: Mapping[str, Any]) -> bool:
    """Tells whether values are rows of numbers."""
    rows = schema.get("items", {})
    return schema.get("type") == "array" and rows.get("type") == "array" and rows.get("items") == {"type": "number"}
