"""Separation: who says what when two people speak at once, by their faces (Ephrat et al. 2018)."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `separation`."""
    return {"separation": "sensorium_separation.task:Separation"}


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Pairs of talking faces, mixed."""
    return {"grid_mixtures": "sensorium_separation.grid:GridMixtures"}
