"""Published weights of CLIP: where they lie, what they say about themselves, and into a tower with them.

Two layouts are read, from safetensors alone: open_clip's (`open_clip_model.safetensors`, `open_clip_config.json`),
which is OpenAI's as well, and that of `CLIPModel` in transformers (`model.safetensors`, `config.json`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import UserError, expanded
from sensorium.builtin.libraries import installed
from sensorium_clip.layouts import Said, hugging_face, names_in_file, open_clip

HUB = "hf-hub:"
"""What the name of a repository on the Hugging Face Hub begins with, as open_clip writes it."""
FILES = ("open_clip_model.safetensors", "model.safetensors")
CONFIGS = {"open_clip_config.json": open_clip, "config.json": hugging_face}
TOKENIZERS = ("tokenizer.json", "bpe_simple_vocab_16e6.txt.gz")

Tower = Literal["image", "text"]


class Published:
    """Weights in a folder, as a safetensors file, or in a repository on the Hub.

    Args:
        where: A folder, a file, or `hf-hub:OWNER/NAME`, which may end in `@REVISION`.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.folder = Path(expanded(where))
        if self.folder.suffix == ".safetensors":
            self.files: tuple[str, ...] = (self.folder.name,)
            self.folder = self.folder.parent
        else:
            self.files = FILES

    def find(self, names: Sequence[str]) -> Path | None:
        """Returns the first of some files that is there.

        Raises:
            UserError: The Hub cannot be asked.
        """
        if not self.where.startswith(HUB):
            return next((self.folder / name for name in names if (self.folder / name).is_file()), None)
        return next((path for name in names if (path := _fetched(self.where.removeprefix(HUB), name))), None)

    @property
    def tokenizer(self) -> Path | None:
        """The file with the vocabulary, where one lies beside the weights."""
        return self.find(TOKENIZERS)

    @cached_property
    def said(self) -> Said:
        """What the configuration beside the weights says; nothing where there is none.

        Raises:
            UserError: It is not one, or is that of a network which is not CLIP's.
        """
        path = self.find(tuple(CONFIGS))
        if path is None:
            self.file()  # which says what is wrong, if nothing is there at all
            return Said()
        beside = self.find(("preprocessor_config.json",)) if path.name == "config.json" else None
        try:
            content, pictures = (json.loads(each.read_text("utf-8")) if each else {} for each in (path, beside))
            return CONFIGS[path.name](content, pictures)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as cause:
            raise UserError(
                f"{path} is not the configuration of a CLIP ({type(cause).__name__}: {cause}).",
                f"What open_clip or transformers write as {' or '.join(CONFIGS)} was expected.",
                "Fetch it again, or take another model.",
            ) from cause

    def file(self) -> Path:
        """Returns the safetensors file.

        Raises:
            UserError: There is none.
        """
        path = self.find(self.files)
        if path is None:
            raise UserError(
                f"There are no weights at {self.where}.",
                f"A safetensors file, a folder with {' or '.join(FILES)}, or {HUB}OWNER/NAME was expected; no other"
                " kind of file is opened.",
                "Correct the path, or convert them.",
            )
        return path

    def scale(self) -> Tensor:
        """Returns the logarithm of the inverse temperature, a scalar.

        Raises:
            UserError: They lack it.
        """
        if "logit_scale" not in self._names():
            raise UserError(f"The weights {self.where} lack logit_scale.", "It is CLIP's temperature.", "Take others.")
        return self._tensors(("logit_scale",))["logit_scale"].float().reshape(())

    @torch.no_grad()
    def fill(self, module: nn.Module, tower: Tower, grid: tuple[int, int] | None = None) -> None:
        """Puts the weights of one tower into a module.

        Positions of a grid of another size are interpolated, as open_clip does; of text, the first are taken.

        Args:
            module: The tower.
            tower: Which one it is.
            grid: Rows and columns of its positions, where they lie on one.

        Raises:
            UserError: Weights are missing, left over, or of another shape; names them.
        """
        own = module.state_dict()
        held, known = self._names(), names_in_file(own, tower, self._names())
        lacking = [name for names in known.values() for name in names if name not in held]
        used = {name for names in known.values() for name in names}
        others = [name for name in held if _of(name) == tower and name not in used]
        found = {} if lacking else self._tensors(sorted(used))
        shapes = []
        for name, tensor in own.items() if not lacking else ():
            parts = [found[each] for each in known[name]]
            given = torch.cat(parts) if len(parts) > 1 else parts[0]
            if known[name][0].endswith("projection.weight"):  # transformers' is a linear layer
                given = given.T
            if name.endswith("positional_embedding") and given.shape[1:] == tensor.shape[1:]:
                given = given[: len(tensor)] if grid is None else _resized(given, grid)
            if given.shape == tensor.shape:
                tensor.copy_(given)
            else:
                shapes.append(f"{known[name][0]} is {tuple(given.shape)} and not {tuple(tensor.shape)}")
        if lacking or others or shapes:
            told = [
                f"they lack {_listed(lacking)}" if lacking else "",
                f"they hold {_listed(others)}, which the model does not have" if others else "",
                _listed(shapes),
            ]
            raise UserError(
                f"The weights {self.where} do not fit the {tower} tower: {'; '.join(filter(None, told))}.",
                "Sizes of the tower follow from the configuration beside the weights, where the experiment does not"
                " say otherwise; ids of texts from the modality `clip_text`.",
                "Leave the sizes out, or choose the weights that they are those of.",
            )

    def _names(self) -> list[str]:
        with _opened(self.file()) as file:
            return list(file.keys())

    def _tensors(self, names: Sequence[str]) -> dict[str, Tensor]:
        with _opened(self.file()) as file:
            return {name: file.get_tensor(name) for name in names}


def _opened(path: Path) -> Any:
    """Returns an open safetensors file.

    Raises:
        UserError: It is something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, "pt")
    except SafetensorError as cause:
        raise UserError(f"{path} is not a safetensors file: {cause}.", "", "Choose another one.") from cause


def _fetched(repository: str, name: str) -> Path | None:
    """Returns a file of a repository on the Hub, from the local cache where it is there; None if it has none such.

    Raises:
        UserError: huggingface_hub is not installed, or the Hub does not answer.
    """
    hub = installed("huggingface_hub", "hf")
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    repository, _, revision = repository.partition("@")
    try:
        return Path(hub.hf_hub_download(repository, name, revision=revision or None))
    except Exception as cause:  # whatever the Hub's client raises without a network
        if isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError):
            return None
        raise UserError(
            f"{HUB}{repository} cannot be read: {type(cause).__name__}: {str(cause)[:200]}.",
            hint="Check the name and the network, or give a folder.",
        ) from cause


def _of(name: str) -> Tower | None:
    """Returns the tower that a tensor in a file belongs to; None for what both share, and what is not a weight."""
    if re.fullmatch(r"logit_(scale|bias)|input_resolution|context_length|vocab_size|attn_mask|.*\.position_ids", name):
        return None
    return "image" if name.startswith(("visual.", "vision_model.", "visual_projection.")) else "text"


def _resized(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns positions (1 + places, W) of a square grid as those of another grid; the first has no place."""
    side = math.isqrt(len(positions) - 1)
    if (side, side) == grid or side * side != len(positions) - 1:
        return positions
    places = positions[1:].float().T.reshape(1, -1, side, side)
    places = F.interpolate(places, grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:1].float(), places[0].flatten(1).T])


def _listed(items: Sequence[str], most: int = 3) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
