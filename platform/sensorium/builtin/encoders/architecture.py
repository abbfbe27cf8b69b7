"""Networks of transformers from what a config.json says, and nothing that it could have loaded from elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from sensorium import UserError, unknown
from sensorium.builtin import pretrained
from sensorium.builtin.libraries import installed

IRRELEVANT = {
    *("auto_map", "id2label", "label2id", "problem_type", "task_specific_params", "transformers_version"),
    *("dtype", "torch_dtype", "_name_or_path", "architectures", "attn_implementation", "_attn_implementation"),
    *("_attn_implementation_internal", "experts_implementation", "use_kernels", "finetuning_task"),
}
"""What a folder's configuration says that no encoder needs, or that would have transformers load somebody's code."""
REFUSED = ("quantization_config", "backbone", "backbone_config", "use_pretrained_backbone", "use_timm_backbone")
"""What would have other weights, or other libraries' networks, loaded."""
UNSUITED = ("vit_mae", "timm_wrapper")
"""Kinds of model that leave patches out by chance, or that are another library's."""
CLASS_FIRST = {
    *("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "albert", "mpnet", "modernbert"),
    *("deberta", "deberta-v2", "vit", "deit", "beit", "data2vec-vision", "dinov2", "dinov3_vit"),
}
"""Kinds of model whose first token stands for the whole."""


def architecture(weights: str) -> dict[str, Any]:
    """Returns what config.json of some weights says of the network."""
    told = pretrained.document(pretrained.folder(weights), "config.json")
    if not told.get("model_type"):
        raise UserError(
            f"{weights} has no config.json with a `model_type`.",
            "A folder as `save_pretrained` of transformers writes it was expected.",
            "Choose another one; models of timm have an encoder of their own.",
        )
    return _relevant(told)


def _relevant(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _relevant(each) if isinstance(each, Mapping) else each
        for key, each in told.items()
        if key not in IRRELEVANT
    }


def configuration(architecture: Mapping[str, Any], tower: str, reads: Sequence[str], written: bool) -> Any:
    """Returns transformers' configuration of a network, without anything that is drawn.

    Args:
        architecture: What config.json says.
        tower: Where a model of several kinds of data has the part that is asked for.
        reads: Names that transformers gives to what that part reads.
        written: Whether a person wrote it; the config.json of weights may hold what transformers no longer heeds.

    Raises:
        UserError: transformers does not know it or a key of it, or it reads something else.
    """
    every = installed("transformers", "hf")
    told = _relevant(architecture)
    kind = told.pop("model_type", None)
    if kind not in every.CONFIG_MAPPING:
        error = unknown("model_type", kind or "", every.CONFIG_MAPPING, "architecture")
        raise UserError(
            error.wrong,
            f"One that transformers {every.__version__} knows was expected, such as bert, vit or wav2vec2.",
            error.hint or "Correct it, or install a newer transformers.",
        )
    if strange := [key for key in REFUSED if told.get(key)]:
        raise UserError(
            f"The architecture {kind!r} has {strange[0]}.",
            "Plain networks of transformers are taken.",
            "Choose another model.",
        )
    with quiet():
        try:
            own = every.AutoConfig.for_model(str(kind), **told)
        except Exception as cause:  # each model checks its options in its own way
            raise UserError(
                f"transformers {every.__version__} does not take the architecture {kind!r}: {str(cause)[:200]}.",
                hint="Check `architecture`, or install a newer transformers.",
            ) from cause
    if written:
        _check_heeded(own, told, "architecture")
    own = getattr(own, tower, None) or own
    asked = getattr(library(own), "main_input_name", None)
    if asked not in reads or own.model_type in UNSUITED:
        raise UserError(
            f"The model {own.model_type!r} reads {asked}, which this encoder does not give.",
            "transformers_text, transformers_image and transformers_audio give tokens, pixels and waves.",
            "Choose another of them, or another model.",
        )
    for key, value in list(vars(own).items()):
        if "drop" in key and isinstance(value, (int, float)) and not isinstance(value, bool):
            setattr(own, key, 0.0)
    for key, value in {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}.items():
        if hasattr(own, key):
            setattr(own, key, value)
    return own


def _check_heeded(own: Any, told: Mapping[str, Any], where: str) -> None:
    """Refuses keys that transformers merely keeps; those of older versions that it still heeds, it translates.

    Raises:
        UserError: Names the key, and the nearest one that there is.
    """
    with quiet():
        usual = type(own)()
    known = {name for name in {*vars(usual), *usual.attribute_map} - IRRELEVANT if name[0] != "_"}
    for key, value in told.items():
        part = vars(own).get(key)
        if key in vars(own) and key not in known | {"model_type"}:
            raise unknown("key", key, known, where)
        if isinstance(value, Mapping) and isinstance(part, installed("transformers", "hf").PreTrainedConfig):
            _check_heeded(part, value, f"{where}.{key}")


def library(own: Any) -> Any:
    """Returns transformers' class of the network of a configuration."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    try:
        return MODEL_MAPPING[type(own)]
    except KeyError as cause:  # a tower of a model that is in the table only whole
        found = getattr(installed("transformers", "hf"), type(own).__name__.replace("Config", "Model"), None)
        if found is None:
            raise UserError(f"transformers has no encoder for {own.model_type!r}.", "", "Choose another.") from cause
        return found


def encoder(model: Any) -> Any:
    """Returns what reads, of a model that reads and says, whichever of both its folder holds; any other whole."""
    both = model.config.is_encoder_decoder or isinstance(getattr(model, "decoder", None), nn.Module)
    return model.get_encoder() if both else model


def plain(own: Any) -> Literal["first", "mean"]:
    """Returns how the tokens of a kind of model are pooled that does not do it itself."""
    return "first" if own.model_type in CLASS_FIRST else "mean"


def without_pooler(body: Any, pool: str | None) -> None:
    """Takes a network's own pooling layers off, where something else pools."""
    if pool not in (None, "model") and isinstance(getattr(body, "pooler", None), nn.Module):
        body.pooler = None


def lost(own: Any, weights: str) -> bool:
    """Returns whether a network pools by layers that some weights lack, as those of masked language models do."""
    with torch.device("meta"):
        pooler = getattr(encoder(library(own)(own)), "pooler", None)
    names = [name for name, _ in pooler.named_parameters()] if isinstance(pooler, nn.Module) else []
    held = pretrained.tensors(weights) if names else set()
    return not all(any(each.endswith(f"pooler.{name}") for each in held) for name in names)


def positions(body: nn.Module) -> int | None:
    """Returns how many tokens a network has positions for; None where they are computed."""
    for name, module in body.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(("position_embeddings", "position_embedding", "wpe")):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers from telling of weights that are left over, and from drawing bars."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
