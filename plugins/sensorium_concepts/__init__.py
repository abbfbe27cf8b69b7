"""Concept cells: units of a joint space that answer to one thing, whichever way it comes (Quiroga et al. 2005)."""

from sensorium import hookimpl


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """The metric `concepts`."""
    return {"concepts": "sensorium_concepts.metric:Concepts"}
