"""The networks of transformers, without their heads: those of texts and of pictures.

T. Wolf et al., "Transformers: State-of-the-Art Natural Language Processing", EMNLP 2020 (demonstrations).

Shapes: B samples, C channels, H rows and W columns of patches, T tokens, D channels.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sensorium import Features, Modality, Padded, UserError
from sensorium.builtin import pretrained
from sensorium.builtin.encoders import architecture as networks
from sensorium.builtin.encoders.fine_tuning import FineTuned
from sensorium.builtin.encoders.inputs import fixed
from sensorium.builtin.encoders.pooling import mean_pool
from sensorium.builtin.encoders.processors import pair, pictures

PREFIX = 8
"""Most tokens that stand before those of the patches: class, distillation, registers."""


class Pretrained(FineTuned):
    """A network of transformers. It has no dropout, which would differ between numbers of workers."""

    tower: ClassVar[str]
    """Where a model of several kinds of data has the part that reads this one."""
    reads: ClassVar[tuple[str, ...]]
    """Names that transformers gives to what it reads."""

    class Config(FineTuned.Config):
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
            if self.architecture is not None:
                self.network()
                return
            if self.weights is None:
                raise ValueError("It needs weights, or an architecture to start from random ones.")
            object.__setattr__(self, "architecture", networks.architecture(self.weights))
            own = self.network()
            if self.pool is None and networks.lost(own, self.weights):
                object.__setattr__(self, "pool", networks.plain(own))

        def network(self) -> Any:
            """Returns transformers' configuration of the network."""
            told, written = self.architecture or {}, self.weights is None
            return networks.configuration(told, self.owner.tower, self.owner.reads, written)

        def licence(self) -> str:
            """Returns the licence of the weights, by their card."""
            return "" if self.weights is None else pretrained.licence(self.weights)

    config: Pretrained.Config

    def __init__(self, config: Pretrained.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.own = config.network()
        try:
            self.body = networks.encoder(networks.library(self.own)._from_config(self.own, dtype=torch.float32))
        except (ValueError, TypeError, KeyError, ImportError, AttributeError) as cause:
            raise UserError(
                f"The architecture {self.own.model_type!r} cannot be built: {cause}.", hint="Correct `architecture`."
            ) from cause
        self.pool = config.pool
        networks.without_pooler(self.body, self.pool)
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
        with networks.quiet():
            try:
                whole, told = networks.library(self.own).from_pretrained(place, output_loading_info=True, **options)
                body = networks.encoder(whole)
                networks.without_pooler(body, self.pool)
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
        pool = self.pool or ("model" if own is not None else networks.plain(self.own))
        if pool == "model":
            if own is None:
                raise UserError(
                    f"{self.own.model_type} pools nothing itself.", "", "Set `pool` to first, last or mean."
                )
            return own.flatten(1)  # type: ignore[no-any-return]
        if pool == "mean":
            return mean_pool(tokens, mask)
        if pool == "first" or mask is None:
            return tokens[:, 0 if pool == "first" else -1]
        return tokens[torch.arange(tokens.shape[0], device=tokens.device), mask.sum(1) - 1]


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
            if self.weights is None:
                return {}
            own = self.network()
            with torch.device("meta"):
                places = networks.positions(networks.encoder(networks.library(own)(own)))
            known = [each for each in (pretrained.most_tokens(pretrained.folder(self.weights)), places) if each]
            return {"pretrained": self.weights, **({"max_length": min(known)} if known else {})}

    def __init__(self, config: Text.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        if modality.vocabulary > self.own.vocab_size:
            raise UserError(
                f"The text has {modality.vocabulary} ids; {self.own.model_type} knows {self.own.vocab_size}.",
                "The tokenizer of the weights, or a smaller vocabulary, was expected.",
                "Set the text's `pretrained` to the weights, or its vocabulary_size.",
            )
        most, longest = networks.positions(self.body), modality.shape[0]
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
        other = given is not None and (given, given) != self.size and tuple(pair(given)) != self.size
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
            rows, columns = (side // (each << joined) for side, each in zip(self.size, pair(patch), strict=True))
            if rows * columns and 0 <= count - rows * columns <= (0 if joined else PREFIX):
                return rows, columns
        return None
