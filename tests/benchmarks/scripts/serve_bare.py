"""FastAPI and torch alone: `python serve_bare.py MODEL PORT`. It answers as Sensorium does, without limits."""

import base64
import sys

import torch
import uvicorn
from fastapi import FastAPI

from sensorium.assembly.build import load_model
from sensorium.contracts.data import Batch

torch.set_num_threads(1)
task = load_model(sys.argv[1]).task
app = FastAPI()


@app.get("/healthz")
def healthz() -> dict:
    """Returns that it runs."""
    return {"status": "ok"}


@app.post("/predict")
@torch.no_grad()
def predict(question: dict) -> dict:
    """Returns the answer to one question."""
    image = task.inputs["image"]
    value = image.transform(image.decode(base64.b64decode(question["image"])), None)
    outputs = task.predict(Batch([{"id": "0"}], {"image": image.collate([value])}))
    return {name: task.outputs[name].encode(values[0]) for name, values in outputs.items()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
