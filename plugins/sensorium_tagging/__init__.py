"""Tagging: a picture and its tags in one space, where words can be taken from a picture and others added."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Photographs with the categories of what is in them."""
    return {"coco_categories": "sensorium_tagging.coco:CocoCategories"}


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """How many of the pictures that are found for a tag have it."""
    return {"tag_precision": "sensorium_tagging.metrics:TagPrecision"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `tagging`."""
    return {"tagging": "sensorium_tagging.task:Tagging"}
