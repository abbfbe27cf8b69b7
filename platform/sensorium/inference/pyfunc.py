"""The model as an MLflow pyfunc: loaded from safetensors and JSON, without a pickle."""

from __future__ import annotations

from typing import Any

from sensorium.errors import UserError
from sensorium.inference.predictor import Predictor
from sensorium.tracking.models import as_text


class Answers:
    """Answers a table of inputs, a row an example."""

    def __init__(self, folder: str) -> None:
        self.predictor = Predictor.load(folder)

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Returns a table of outputs for a table of inputs; empty cells are inputs that are not given.

        Raises:
            UserError: A picture, sound or film is given as a text, which could name a file of this machine.
        """
        import pandas

        rows = [
            {name: value for name, value in row.items() if isinstance(value, (str, bytes))}
            for row in model_input.to_dict("records")
        ]
        inputs = self.predictor.model.task.inputs
        for name in {name for row in rows for name, value in row.items() if isinstance(value, str)} & set(inputs):
            if inputs[name].accepts:  # a text would be taken for a path of this machine
                raise UserError(f"The input {name!r} is a text.", "The bytes of a file were expected.")
        answers = [self.predictor([row])[0] for row in rows]
        return pandas.DataFrame([{name: as_text(value) for name, value in answer.items()} for answer in answers])


def _load_pyfunc(data_path: str) -> Answers:
    return Answers(data_path)
