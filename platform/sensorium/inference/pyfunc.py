"""The model as an MLflow pyfunc: loaded from safetensors and JSON, without a pickle."""

from __future__ import annotations

from typing import Any

from sensorium.inference.predictor import Predictor
from sensorium.tracking.models import as_text


class Answers:
    """Answers a table of inputs, a row an example."""

    def __init__(self, folder: str) -> None:
        self.predictor = Predictor.load(folder)

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Returns a table of outputs for a table of inputs; empty cells are inputs that are not given."""
        import pandas

        rows = [
            {name: value for name, value in row.items() if isinstance(value, (str, bytes))}
            for row in model_input.to_dict("records")
        ]
        answers = [self.predictor([row])[0] for row in rows]
        return pandas.DataFrame([{name: as_text(value) for name, value in answer.items()} for answer in answers])


def _load_pyfunc(data_path: str) -> Answers:
    return Answers(data_path)
