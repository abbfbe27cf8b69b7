"""How open_clip and transformers call what CLIP is made of: sizes in their configurations, tensors in their files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sensorium import UserError

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that OpenAI trained on, by which nearly all CLIPs are fed."""
HEAD = 64
"""Channels of an attention head, where a configuration does not say."""

OPEN_CLIP = {
    "blocks.": "transformer.resblocks.",
    ".attention_norm.": ".ln_1.",
    ".query_key_value.": ".attn.in_proj_",
    ".output.": ".attn.out_proj.",
    ".perceptron.0.": ".ln_2.",
    ".perceptron.1.": ".mlp.c_fc.",
    ".perceptron.3.": ".mlp.c_proj.",
}
"""Part of a tower's own name -> what open_clip has in its place."""
HUGGING_FACE = {
    "blocks.": "encoder.layers.",
    ".attention_norm.": ".layer_norm1.",
    ".query_key_value.": ".self_attn.{}_proj.",
    ".output.": ".self_attn.out_proj.",
    ".perceptron.0.": ".layer_norm2.",
    ".perceptron.1.": ".mlp.fc1.",
    ".perceptron.3.": ".mlp.fc2.",
    "class_embedding": "embeddings.class_embedding",
    "conv1.": "embeddings.patch_embedding.",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.": "pre_layrnorm.",
    "ln_post.": "post_layernorm.",
    "token_embedding.": "embeddings.token_embedding.",
    "ln_final.": "final_layer_norm.",
}
"""The same for transformers, whose queries, keys and values are three tensors."""

PLAIN = {
    "vision_cfg": {"layers", "width", "patch_size", "image_size", "head_width", "patch_dropout", "output_tokens"},
    "text_cfg": {"layers", "width", "heads", "context_length", "vocab_size", "hf_tokenizer_name", "output_tokens"},
}
"""Options of open_clip's configurations which the towers here have, or which change nothing in evaluation."""


@dataclass(frozen=True)
class Said:
    """What a configuration says, in the options of Sensorium's parts.

    Attributes:
        image: Options of the encoder `clip_image`.
        text: Options of the encoder `clip_text`.
        pictures: Options of the modality `image`.
        length: Tokens of the longest text.
    """

    image: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None

    def __post_init__(self) -> None:
        for name, value in [*self.image.items(), *self.text.items(), ("context", self.length or 0)]:
            if not all(isinstance(each, int) for each in (value if isinstance(value, tuple) else (value,))):
                raise TypeError(f"{name} is {value!r}")


def open_clip(content: Mapping[str, Any], _: Mapping[str, Any]) -> Said:
    """Returns what `open_clip_config.json` says.

    Raises:
        UserError: It asks for a network which is not here.
    """
    model, seen = content["model_cfg"], content.get("preprocess_cfg") or {}
    for part, known in PLAIN.items():
        if odd := sorted(key for key, value in model[part].items() if value and key not in known):
            raise UserError(
                f"The weights are of a model with {', '.join(odd)} in its {part}, which CLIP's towers do not have.",
                f"They have {', '.join(sorted(known))}.",
                "Take another model, or the encoder `timm` or `transformers` for a tower of theirs.",
            )
    vision, text = model["vision_cfg"], model["text_cfg"]
    shared = {"dim": model["embed_dim"], "quick_gelu": bool(model.get("quick_gelu", False))}
    depth, width = vision.get("layers", 12), vision.get("width", 768)
    residual = not isinstance(depth, int)
    image = {
        **shared,
        "depth": tuple(depth) if residual else depth,
        "width": width,
        "heads": (32 * width if residual else width) // vision.get("head_width", HEAD),
        "patch": 32 if residual else vision.get("patch_size", 16),
    }
    words = {
        **shared,
        "depth": text.get("layers", 12),
        "width": text.get("width", 512),
        "heads": text.get("heads", 8),
    }
    pictures = {
        "size": seen.get("size") or vision.get("image_size", 224),
        "mean": list(seen.get("mean") or MEAN),
        "std": list(seen.get("std") or STD),
        "interpolation": _known(seen.get("interpolation")),
        "crop_last": True,
    }
    return Said(image, words, pictures, text.get("context_length", 77))


def hugging_face(content: Mapping[str, Any], seen: Mapping[str, Any]) -> Said:
    """Returns what `config.json` and `preprocessor_config.json` say; transformers leaves out what is ViT-B/32's."""
    if content["model_type"] != "clip":
        raise ValueError(f"model_type is {content['model_type']!r}, and not 'clip'")
    vision, text = content.get("vision_config") or {}, content.get("text_config") or {}
    dim = content.get("projection_dim", 512)

    def tower(sizes: Mapping[str, Any], width: int, heads: int) -> dict[str, Any]:
        width, activation = sizes.get("hidden_size", width), sizes.get("hidden_act", "quick_gelu")
        usual = {"hidden_act": activation if activation == "gelu" else "quick_gelu"}
        usual |= {"intermediate_size": 4 * width, "layer_norm_eps": 1e-5}
        for key, value in usual.items():
            if sizes.get(key, value) != value:
                raise ValueError(f"{key} is {sizes[key]!r}, and CLIP's towers have {value!r}")
        return {
            "dim": dim,
            "quick_gelu": activation == "quick_gelu",
            "depth": sizes.get("num_hidden_layers", 12),
            "width": width,
            "heads": sizes.get("num_attention_heads", heads),
        }

    size = seen.get("crop_size") or vision.get("image_size", 224)
    pictures = {
        "size": [size["height"], size["width"]] if isinstance(size, Mapping) else size,
        "mean": list(seen.get("image_mean") or MEAN),
        "std": list(seen.get("image_std") or STD),
        "interpolation": {2: "bilinear"}.get(seen.get("resample", 3), "bicubic"),
        "crop_last": True,
    }
    image = {**tower(vision, 768, 12), "patch": vision.get("patch_size", 32)}
    return Said(image, tower(text, 512, 8), pictures, text.get("max_position_embeddings", 77))


def names_in_file(own: Iterable[str], tower: str, held: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Returns what each tensor of a tower is called in a file; several names are of parts, one below the other.

    Args:
        own: Names of the tower's tensors.
        tower: `image` or `text`.
        held: All names in the file, which tell its layout.
    """
    if not any(name.startswith(("vision_model.", "text_model.")) for name in held):
        prefix = "visual." if tower == "image" else ""
        return {name: (prefix + _replaced(name, OPEN_CLIP),) for name in own}
    prefix = "vision_model." if tower == "image" else "text_model."
    projections = {"proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
    found = {}
    for name in own:
        theirs = projections.get(name) or prefix + _replaced(name, HUGGING_FACE)
        found[name] = tuple(theirs.format(part) for part in "qkv") if "{}" in theirs else (theirs,)
    return found


def _replaced(name: str, parts: Mapping[str, str]) -> str:
    for own, theirs in parts.items():
        if own in name:
            name = name.replace(own, theirs)
    return name


def _known(interpolation: Any) -> str:
    return interpolation if interpolation in ("bicubic", "bilinear") else "bicubic"
