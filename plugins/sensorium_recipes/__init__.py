"""Recipes: a picture of a dish and its recipe in one space (Salvador et al. 2017)."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Recipe1M's layers, and recipes as JSON lines."""
    return {
        "recipe1m": "sensorium_recipes.recipe1m:Recipe1M",
        "recipe_lines": "sensorium_recipes.recipe_lines:RecipeLines",
    }


@hookimpl
def sensorium_modalities() -> dict[str, str]:
    """A list of ingredients and a list of instructions."""
    return {"recipe": "sensorium_recipes.modality:Recipe"}


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """What reads a recipe."""
    return {"recipe_lstm": "sensorium_recipes.encoder:RecipeLSTM"}


@hookimpl
def sensorium_losses() -> dict[str, str]:
    """Cosines of pairs that belong together, and of those that do not."""
    return {"cosine": "sensorium_recipes.loss:Cosine"}


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """Search in galleries, neighbours of one class, and recipes that differ in their order alone."""
    return {
        "galleries": "sensorium_recipes.metrics:Galleries",
        "class_consistency": "sensorium_recipes.metrics:ClassConsistency",
        "order_alone": "sensorium_recipes.metrics:OrderAlone",
    }


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `recipes`."""
    return {"recipes": "sensorium_recipes.task:Recipes"}
