"""The networks of transformers, without their heads: those of texts, of pictures and of sounds.

T. Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations).

Shapes: B samples, C channels, L samples of a wave, H rows and W columns of patches, T tokens or frames, D channels of
a token.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Encoder, Features, Modality, Padded, UserError
from sensorium.builtin import pretrained
from sensorium.builtin.encoders.inputs import fixed
from sensorium.builtin.encoders.pooling import mean_pool

IRRELEVANT = {
    *("auto_map", "id2label", "label2id", "problem_type", "task_specific_params", "transformers_version"),
    *("dtype", "torch_dtype", "_name_or_path", "architectures", "attn_implementation", "_attn_implementation"),
    *("_attn_implementation_internal", "experts_implementation", "use_kernels", "finetuning_task"),
}
"""What a folder's configuration says that no encoder needs, or that would have transformers load somebody's code."""
REFUSED = ("quantization_config", "backbone", "backbone_config", "use_pretrained_backbone", "use_timm_backbone")
"""What would have other weights, or other libraries' networks, loaded."""
UNSUITED = ("audio-spectrogram-transformer", "vit_mae")
"""Kinds of model that read spectrograms of their own, or that leave patches out by chance."""
CLASS_FIRST = {
    *("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "albert", "mpnet", "modernbert"),
    *("deberta", "deberta-v2", "vit", "deit", "beit", "data2vec-vision", "dinov2", "dinov3_vit"),
}
"""Kinds of model whose first token stands for the whole."""
BLENDING = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the interpolations that pictures know."""
PREFIX = 8
"""Most tokens that stand before those of the patches: class, distillation, registers."""


class Pretrained(Encoder):
    """A network of transformers. It has no dropout, which would differ between numbers of workers."""

    tower: ClassVar[str]
    """Where a model of several kinds of data has the part that reads this one."""
    reads: ClassVar[tuple[str, ...]]
    """Names that transformers gives to what it reads."""

    class Config(Encoder.Config):
        """Which weights, or which architecture."""

        weights: str | None = None
        """A folder as `save_pretrained` writes it, or a name of the Hugging Face Hub, which is downloaded; safetensors
        alone. What its tokenizer or processor says holds for the modality, unless the experiment says otherwise.
        None starts `architecture` from random weights."""

        architecture: dict[str, Any] | None = None
        """What its config.json says: `model_type` and sizes. None takes it from the weights, and the experiment keeps
        it, so that a trained model needs neither folder nor download."""

        pool: Literal["model", "first", "last", "mean"] | None = None
        """What stands for the whole: what the model itself pools, the first token, the last, or the mean of them.
        None is the model's own; where it has none, or its weights lack the layers, `first` or `mean` by its kind."""

        def __post_init__(self) -> None:
            if self.architecture is None:
                if self.weights is None:
                    raise ValueError("It needs weights, or an architecture to start from random ones.")
                object.__setattr__(self, "architecture", _architecture(self.weights))
            assert self.architecture is not None
            own = _configuration(self.architecture, self.owner)
            if self.pool is None and self.weights is not None and _lost(own, self.weights):
                object.__setattr__(self, "pool", _plain(own))

        def licence(self) -> str:
            """Returns the licence of the weights, by their card."""
            return "" if self.weights is None else pretrained.licence(self.weights)

    config: Pretrained.Config

    def __init__(self, config: Pretrained.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        assert config.architecture is not None
        self.own = _configuration(config.architecture, type(self))
        try:
            self.body: nn.Module = _encoder(_library(self.own)._from_config(self.own, dtype=torch.float32))
        except (ValueError, TypeError, KeyError, ImportError, AttributeError) as cause:
            raise UserError(
                f"The architecture {self.own.model_type!r} cannot be built: {cause}.", hint="Correct `architecture`."
            ) from cause
        self.pool = config.pool
        _without_pooler(self.body, self.pool)
        self.dim = int(getattr(self.own, "hidden_size", 0))

    def initialise(self) -> None:
        """Takes trained weights, if the configuration names some.

        Raises:
            UserError: They cannot be fetched, are not safetensors, or are of another model.
        """
        weights = self.config.weights
        if weights is None:
            return
        pretrained.tensors(weights)
        place = pretrained.folder(weights, (*pretrained.SMALL, *pretrained.WEIGHTS))
        options = {"config": self.own, "dtype": torch.float32, "use_safetensors": True, "local_files_only": True}
        with _quiet():
            try:
                whole, told = _library(self.own).from_pretrained(place, output_loading_info=True, **options)
                body = _encoder(whole)
                _without_pooler(body, self.pool)
                needed = {id(each) for each in body.parameters()}
                absent = [n for n, each in whole.named_parameters() if n in told["missing_keys"] and id(each) in needed]
                if absent:
                    raise ValueError(f"they lack {len(absent)} tensors, such as {absent[0]}")
                self.body.load_state_dict(body.state_dict())
            except (ValueError, RuntimeError, OSError) as cause:
                raise UserError(
                    f"The weights {weights!r} cannot be taken for {self.own.model_type!r}: {str(cause)[:300]}.",
                    hint="Choose the model that they were trained for; `architecture: null` takes it from them.",
                ) from cause

    def pooled(self, found: Any, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Returns what stands for the whole (B, D), as `pool` says."""
        own = getattr(found, "pooler_output", None)
        pool = self.pool or ("model" if own is not None else _plain(self.own))
        if pool == "model":
            if own is None:
                raise UserError(f"{self.own.model_type} pools nothing itself.", "", "Set `pool` to first, last or mean.")
            return own.flatten(1)  # type: ignore[no-any-return]
        if pool == "mean":
            return mean_pool(tokens, mask)
        if pool == "first" or mask is None:
            return tokens[:, 0 if pool == "first" else -1]
        return tokens[torch.arange(len(tokens), device=tokens.device), mask.sum(1) - 1]


class Text(Pretrained):
    """A network of transformers that reads text: BERT's kind, T5's encoder, a CLIP's text tower."""

    takes = ("tokens",)
    tower, reads = "text_config", ("input_ids",)
    probe: ClassVar[dict[str, Any]] = {
        "architecture": {
            "model_type": "bert",
            "vocab_size": 8192,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        }
    }

    class Config(Pretrained.Config):
        """Which weights, or which architecture."""

        def suits(self) -> dict[str, Any]:
            """Returns the tokenizer of the weights, and the tokens that both keep."""
            if self.weights is None or self.architecture is None:
                return {}
            own = _configuration(self.architecture, Text)
            most = [pretrained.most_tokens(pretrained.folder(self.weights)), getattr(own, "max_position_embeddings", 0)]
            known = [int(each) for each in most if each]
            return {"pretrained": self.weights, **({"max_length": min(known)} if known else {})}

    def __init__(self, config: Text.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        if modality.vocabulary > self.own.vocab_size:
            raise UserError(
                f"The text has {modality.vocabulary} ids; {self.own.model_type} knows {self.own.vocab_size}.",
                "The tokenizer of the weights, or a smaller vocabulary, was expected.",
                "Set the text's `pretrained` to the weights, or its vocabulary_size.",
            )
        most, longest = _positions(self.body), modality.shape[0]
        if most is not None and (longest is None or longest > most):
            raise UserError(
                f"Texts have up to {longest} tokens; {self.own.model_type} has {most} positions.",
                hint=f"Set the text's max_length to {most} or less.",
            )

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and tokens (B, T, D)."""
        found = self.body(input_ids=batch.data, attention_mask=batch.mask.long())
        tokens = found.last_hidden_state
        return Features(self.pooled(found, tokens, batch.mask), tokens, batch.mask)


class Image(Pretrained):
    """A network of transformers that sees pictures: a ViT, DINOv2, Swin, ConvNeXt, a CLIP's vision tower."""

    takes = ("image",)
    tower, reads = "vision_config", ("pixel_values",)
    probe: ClassVar[dict[str, Any]] = {
        "architecture": {
            "model_type": "vit",
            "image_size": 32,
            "patch_size": 16,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        }
    }

    class Config(Pretrained.Config):
        """Which weights, or which architecture."""

        def suits(self) -> dict[str, Any]:
            """Returns size, cut, mean, deviation and interpolation of the pictures that the weights were trained on."""
            return {} if self.weights is None else pictures(pretrained.processor(pretrained.folder(self.weights)))

    def __init__(self, config: Image.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.size = height, width = fixed(modality, 1), fixed(modality, 2)
        given, known = getattr(self.own, "image_size", None), inspect.signature(self.body.forward).parameters
        other = given is not None and (given, given) != self.size and tuple(_pair(given)) != self.size
        self.options = {"interpolate_pos_encoding": True} if other and "interpolate_pos_encoding" in known else {}
        try:
            with torch.no_grad():
                self.dim = self.eval()(torch.zeros(1, 3, height, width)).pooled.shape[1]
            self.train()
        except (RuntimeError, ValueError, AssertionError, TypeError) as cause:
            raise UserError(
                f"The model {self.own.model_type!r} does not take pictures of {height} x {width}: {cause}.",
                hint="Choose another size of picture, or another model.",
            ) from cause

    def forward(self, picture: Tensor) -> Features:
        """Returns pooled (B, D) and tokens (B, T, D), on a grid (H, W) where there is one; grey counts as RGB."""
        found = self.body(pixel_values=picture.expand(-1, 3, -1, -1), **self.options)
        tokens: Tensor = found.last_hidden_state
        if tokens.ndim == 4:
            places = tokens.flatten(2).transpose(1, 2)
            return Features(self.pooled(found, places, None), places, None, tuple(tokens.shape[2:]))
        grid = self._grid(tokens.shape[1])
        patches = tokens if grid is None else tokens[:, tokens.shape[1] - grid[0] * grid[1] :]
        pooled = self.pooled(found, patches if self.pool == "mean" else tokens, None)
        return Features(pooled, patches, None, grid)

    def _grid(self, count: int) -> tuple[int, int] | None:
        """Returns rows and columns of the last so many tokens: of patches, or of two by two of them joined, again."""
        patch = getattr(self.own, "patch_size", None)
        if patch is None:
            return None
        for joined in range(6):
            rows, columns = (side // (each << joined) for side, each in zip(self.size, _pair(patch), strict=True))
            if rows * columns and 0 <= count - rows * columns <= (0 if joined else PREFIX):
                return rows, columns
        return None


class Audio(Pretrained):
    """A network of transformers that hears waves: Wav2Vec 2.0, HuBERT, WavLM, data2vec.

    Models of spectrograms (AST, Whisper) have filters of their own, which no view of the modality `audio` equals to
    the digit, and are refused.
    """

    takes = ("waveform",)
    tower, reads = "audio_config", ("input_values",)
    probe: ClassVar[dict[str, Any]] = {
        "architecture": {
            "model_type": "wav2vec2",
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "conv_dim": [8, 8],
            "conv_kernel": [10, 8],
            "conv_stride": [5, 4],
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 2,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        }
    }

    class Config(Pretrained.Config):
        """Which weights, or which architecture."""

        def suits(self) -> dict[str, Any]:
            """Returns rate and scale of the waves that the weights were trained on."""
            if self.weights is None:
                return {}
            told = pretrained.processor(pretrained.folder(self.weights))
            wave = {"view": "waveform", "normalise": bool(told.get("do_normalize", False))}
            return {**wave, "sample_rate": int(told["sampling_rate"])} if "sampling_rate" in told else wave

    def __init__(self, config: Audio.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.whole = modality.shape[-1] is not None
        if self.own.feat_extract_norm == "group" and not self.whole:
            raise UserError(
                f"This {self.own.model_type} normalises over the whole length of a wave, so that silence that pads"
                " would change what it hears.",
                "Sounds of one length were expected; models with feat_extract_norm `layer` take any.",
                "Set the sound's `seconds`.",
            )

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and frames (B, T, D)."""
        wave, lengths, least = batch.data.mean(1), batch.mask.sum(1), 1
        steps = list(zip(self.own.conv_kernel, self.own.conv_stride, strict=True))
        for kernel, stride in reversed(steps):
            least = (least - 1) * stride + kernel
        wave = F.pad(wave, (0, max(0, least - wave.shape[1])))
        real = F.pad(batch.mask, (0, wave.shape[1] - batch.mask.shape[1])) | (
            torch.arange(wave.shape[1], device=wave.device) < least
        )  # a frame at least, where a sound is shorter than one
        found = self.body(wave, attention_mask=None if self.whole else real.long())
        for kernel, stride in steps:
            lengths = (lengths - kernel) // stride + 1
        frames = found.last_hidden_state
        mask = torch.arange(frames.shape[1], device=wave.device) < lengths.clamp(min=1)[:, None]
        return Features(self.pooled(found, frames, mask), frames, mask)


def pictures(told: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of the modality `image` that do what a processor of pictures says."""
    options: dict[str, Any] = {}
    resized, cut = (_sides(told.get(key)) for key in ("size", "crop_size"))
    cut = cut if told.get("do_center_crop") else None
    if resized is not None or cut is not None:
        size = options["size"] = list(cut or resized or ())
        shortest = isinstance(told.get("size"), dict) and "height" not in told["size"] or isinstance(told["size"], int)
        if resized is not None and told.get("do_resize", True):
            options["stretch"] = not (shortest and cut)
            options["central"] = min(1.0, min(size) / min(resized))
    scale = 255 * told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 255.0
    mean, std = (told.get("image_mean"), told.get("image_std")) if told.get("do_normalize", True) else ([0.0], [1.0])
    if mean is not None and std is not None:
        mean, std = ([each] if isinstance(each, (int, float)) else each for each in (mean, std))
        options |= {"mean": [each / scale for each in mean], "std": [each / scale for each in std]}
    if told.get("resample") in BLENDING:
        options["interpolation"] = BLENDING[told["resample"]]
    return options


def _sides(size: Any) -> tuple[int, int] | None:
    if isinstance(size, Mapping):
        if "height" in size:
            return int(size["height"]), int(size["width"])
        size = size.get("shortest_edge")
    return _pair(size) if size is not None else None


def _pair(size: Any) -> tuple[int, int]:
    return (size[0], size[1]) if isinstance(size, (list, tuple)) else (int(size), int(size))


def _architecture(weights: str) -> dict[str, Any]:
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


def _configuration(architecture: Mapping[str, Any], encoder: type[Pretrained]) -> Any:
    """Returns transformers' configuration of what an encoder reads, without anything that is drawn.

    Raises:
        UserError: transformers does not know it, or it reads something else.
    """
    library = pretrained.transformers()
    told = _relevant(architecture)
    kind = told.pop("model_type", None)
    if strange := [key for key in REFUSED if told.get(key)]:
        raise UserError(f"The architecture {kind!r} has {strange[0]}.", "Plain networks of transformers are taken.")
    with _quiet():
        try:
            own = library.AutoConfig.for_model(str(kind), **told)
        except Exception as cause:  # each model checks its options in its own way
            raise UserError(
                f"transformers {library.__version__} does not take the architecture {kind!r}: {str(cause)[:200]}.",
                hint="Check `architecture`, or install a newer transformers.",
            ) from cause
    own = getattr(own, encoder.tower, None) or own
    asked = getattr(_library(own), "main_input_name", None)
    if asked not in encoder.reads or own.model_type in UNSUITED:
        raise UserError(
            f"The model {own.model_type!r} does not read {encoder.takes[0]}; it reads {asked}.",
            "There are transformers_text, transformers_image and transformers_audio.",
            "Choose another encoder, or another model; those of spectrograms are not supported.",
        )
    for key, value in list(vars(own).items()):
        if "drop" in key and isinstance(value, (int, float)) and not isinstance(value, bool):
            setattr(own, key, 0.0)
    for key, value in {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}.items():
        if hasattr(own, key):
            setattr(own, key, value)
    return own


def _library(own: Any) -> Any:
    """Returns transformers' class of the network of a configuration."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    try:
        return MODEL_MAPPING[type(own)]
    except KeyError as cause:  # a tower of a model that is in the table only whole
        found = getattr(pretrained.transformers(), type(own).__name__.replace("Config", "Model"), None)
        if found is None:
            raise UserError(f"transformers has no encoder for {own.model_type!r}.", "", "Choose another.") from cause
        return found


def _encoder(model: Any) -> Any:
    return model.get_encoder() if model.config.is_encoder_decoder else model


def _plain(own: Any) -> Literal["first", "mean"]:
    """Returns how the tokens of a kind of model are pooled that does not do it itself."""
    return "first" if own.model_type in CLASS_FIRST else "mean"


def _without_pooler(body: Any, pool: str | None) -> None:
    """Takes a network's own pooling layers off, where something else pools."""
    if pool not in (None, "model") and isinstance(getattr(body, "pooler", None), nn.Module):
        body.pooler = None


def _lost(own: Any, weights: str) -> bool:
    """Returns whether a network pools by layers that some weights lack, as those of masked language models do."""
    with torch.device("meta"):
        pooler = getattr(_encoder(_library(own)(own)), "pooler", None)
    names = [name for name, _ in pooler.named_parameters()] if isinstance(pooler, nn.Module) else []
    held = pretrained.tensors(weights) if names else set()
    return not all(any(each.endswith(f"pooler.{name}") for each in held) for name in names)


def _positions(body: nn.Module) -> int | None:
    """Returns how many tokens a network has positions for; None where they are computed."""
    for name, module in body.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith(("position_embeddings", "position_embedding", "wpe")):
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - first
    return None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
