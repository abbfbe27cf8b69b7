"""The notebook runs from its first cell, in a kernel of its own, with a short training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "plugins/sensorium_clip/digits.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The cells of code, executed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSORIUM_STEPS", "20")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        resources = {"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: Any, kind: str) -> str:
    return "\n".join(output["data"][kind] for output in cell.outputs if kind in output.get("data", {}))


def test_it_is_stored_without_outputs() -> None:
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")


def test_a_training_shows_its_table_and_its_plots(cells: list[Any]) -> None:
    training = cells[0]
    assert "zero_shot_accuracy" in shown(training, "text/plain")
    assert shown(training, "text/html").count('<img style="max-width:100%" src="data:image/png;base64,') == 3
    assert any(output.output_type == "display_data" for output in training.outputs), "the line that changes"
    said = [output for output in training.outputs if output.output_type == "stream"]
    assert {output.name for output in said} == {"stdout"}, "red lines: " + "".join(output.text for output in said)


def test_a_model_answers_and_embeds(cells: list[Any]) -> None:
    assert "label" in shown(cells[3], "text/html")
    assert cells[4].outputs[0]["data"]["text/plain"].endswith("[8, 9, 8])")
    assert "without image" in shown(cells[5], "text/plain")


def test_a_mistake_is_a_sentence(cells: list[Any]) -> None:
    (told,) = cells[6].outputs
    assert told.output_type == "error"
    assert told.traceback == [told.traceback[0]]
    assert told.traceback[0].startswith("Error: There is no option 'epoch'")
    assert not any(output.output_type == "error" for cell in cells[:6] for output in cell.outputs)
