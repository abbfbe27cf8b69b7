"""The data on its way through a model: Sample, Batch, Features, Rows.

Shapes: B samples of a batch, T steps or tokens, D channels of a feature, H and W rows and columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from sensorium.errors import SensoriumError

_CPU = torch.device("cpu")

Sample = dict[str, Any]
"""One example, field -> raw value (a path, bytes, a string, an array), as the dataset gives it.

`id` is a string that is unique in its split. `group`, where given, is a string: samples of one
group describe the same thing and count as positives of one another.
"""

Rows = dict[str, Any]
"""What an evaluation keeps of each sample: name -> tensor (N, ...), or list of N, such as boxes, in dataset order.

Items of a list are tensors, arrays, bytes, strings, numbers, None, or lists, tuples and dicts of these, so that workers
can send them.
"""


@dataclass(frozen=True)
class Padded:
    """Values of unequal length, padded to the longest.

    Attributes:
        data: (B, ..., T) for what goes on in time, (B, T) for token ids; (B, T, ...) for a list of things that have
            several numbers each: points, boxes, tracks.
        mask: (B, T) bool, True where `data` is real.
        counted: (B,) int64, how many are real, on the host; taken from the mask where that is made on the host.
    """

    on_host: ClassVar[tuple[str, ...]] = ("counted",)

    data: Tensor
    mask: Tensor
    counted: Tensor | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.counted is None and self.mask is not None and self.mask.device == _CPU:
            object.__setattr__(self, "counted", self.mask.sum(-1))

    @property
    def lengths(self) -> Tensor:
        """How many are real, (B,) int64, on the host, whose waiting for a batch's own ended when it was collated."""
        return self.mask.sum(-1).cpu() if self.counted is None else self.counted


@dataclass
class Batch:
    """Samples put together for one forward pass.

    Attributes:
        samples: The B samples as the dataset gave them.
        fields: Field -> what its modality collated: a tensor (B, ...), a `Padded`, or a
            structure of a modality's own, such as a mesh: a dict, tuple or dataclass of these. Every tensor in it has
            B first, padded with a mask where samples differ in size.
        seed: What all randomness of this pass follows from, the same on every worker. 0 in
            evaluation and prediction.
        progress: Share of the stage's steps that came before, from 0; 1 in evaluation and prediction.
        device: Where the tensors lie.
        source: Name of the source that all samples come from, where the dataset joins several.

    Raises:
        SensoriumError: A tensor of a field does not have B first; names the field.
    """

    samples: Sequence[Sample]
    fields: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    progress: float = 1.0
    device: torch.device = _CPU
    source: str = ""

    def __post_init__(self) -> None:
        for name, value in self.fields.items():
            check_rows(f"The field {name!r}", value, len(self.samples))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    @property
    def ids(self) -> list[str]:
        """The samples' ids, in order."""
        return [sample["id"] for sample in self.samples]

    @property
    def groups(self) -> Tensor:
        """Group of each sample as a number that is the same on every worker, (B,) int64."""
        names = [str(sample.get("group", sample["id"])) for sample in self.samples]
        return torch.tensor([stable_hash(name) for name in names], dtype=torch.int64)

    def to(self, device: torch.device) -> Batch:
        """Returns the batch with its tensors on `device`, but for lengths, which stay on the host."""
        fields = map_tensors(self.fields, lambda t: t.to(device, non_blocking=True), on_host=False)
        return replace(self, fields=fields, device=device)

    def pinned(self) -> Batch:
        """Returns the batch in memory that a GPU copies from by itself, beside what it computes."""
        return replace(self, fields=map_tensors(self.fields, lambda t: t.pin_memory(), on_host=False))

    def normal(self, name: str, *shape: int) -> Tensor:
        """Returns numbers from the normal distribution, (B, *shape), that follow from each sample.

        They depend on `seed`, on the sample's id, on its raw value `seed` where it has one, and on
        `name`: not on the rest of the batch, nor on the worker that draws them.
        """
        return self._drawn(torch.randn, name, shape).to(self.device)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Returns numbers from [0, 1), (B, *shape), that follow from each sample as those of `normal` do."""
        return self._drawn(torch.rand, name, shape).to(self.device)

    def chosen(self, name: str, share: float) -> Tensor:
        """Returns the places (K,) of about a share of the samples, those whose number of `uniform` lies below it.

        The host knows how many they are, and need not wait for the device to tell.
        """
        return (self._drawn(torch.rand, name, ()) < share).nonzero().squeeze(1).to(self.device)

    def _drawn(self, draw: Callable[..., Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
        random, rows = torch.Generator(), []
        for sample in self.samples:
            random.manual_seed(stable_hash(f"{self.seed}/{name}/{sample['id']}/{sample.get('seed', '')}"))
            rows.append(draw(shape, generator=random))
        return torch.stack(rows)

    def split(self, parts: int) -> list[Batch]:
        """Returns the batch cut along B into at most `parts` batches of nearly equal size."""
        sizes = [len(chunk) for chunk in torch.arange(len(self)).tensor_split(parts) if len(chunk)]
        batches, start = [], 0
        for size in sizes:
            cut = slice(start, start + size)
            fields = map_tensors(self.fields, lambda t, cut=cut: t[cut])
            batches.append(replace(self, samples=self.samples[cut], fields=fields))
            start += size
        return batches


@dataclass(frozen=True)
class Features:
    """What an encoder returns.

    Attributes:
        pooled: (B, D), one vector a sample.
        tokens: (B, T, D), one vector a place in space or time; row by row for a grid.
        mask: (B, T), True where a token is real; None when all are.
        grid: (H, W) with H * W = T when the tokens lie on a grid, else None.
    """

    pooled: Tensor
    tokens: Tensor | None = None
    mask: Tensor | None = None
    grid: tuple[int, ...] | None = None


def stable_hash(text: str) -> int:
    """Returns a 63-bit number that depends on the text alone, in every process alike."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def check_rows(what: str, tree: Any, count: int) -> None:
    """Checks that each tensor of a structure has as many rows as there are samples.

    Args:
        what: What it is called, for the message.
        tree: A tensor, or dicts, lists, tuples and dataclasses of tensors.
        count: B.

    Raises:
        SensoriumError: One does not have B first, or a mask is not that of its data.
    """
    if torch.compiler.is_exporting():
        return  # where B is any number
    if isinstance(tree, Tensor) and (tree.ndim == 0 or len(tree) != count):
        raise SensoriumError(
            f"{what} holds a tensor of the shape {tuple(tree.shape)} for {count} samples.",
            f"B comes first in every tensor: ({count}, ...).",
            "Where samples have different numbers of something, pad them, with a mask (B, T).",
        )
    parts: Iterable[Any] = ()
    if isinstance(tree, Mapping):
        parts = tree.values()
    elif isinstance(tree, (list, tuple)):
        parts = tree
    elif hasattr(tree, "__dataclass_fields__") and not isinstance(tree, type):
        parts = [getattr(tree, each.name) for each in fields(tree)]
    for part in parts:
        check_rows(what, part, count)
    if isinstance(tree, Padded):
        data, mask = tree.data, tree.mask
        if mask.dtype != torch.bool or mask.ndim != 2 or mask.shape[1] not in (data.shape[-1], *data.shape[1:2]):
            raise SensoriumError(
                f"{what} holds a mask of the shape {tuple(mask.shape)}, {mask.dtype}, for data {tuple(data.shape)}.",
                "A mask is (B, T) and bool, for data (B, ..., T) or (B, T, ...).",
                "Mend what makes it, such as the modality's `collate`.",
            )


def map_tensors(tree: Any, function: Any, on_host: bool = True) -> Any:
    """Returns `tree` with `function` applied to each tensor in dicts, lists, tuples, dataclasses.

    Args:
        tree: A tensor, or what holds tensors.
        function: Takes a tensor, and returns what stands in its place.
        on_host: Whether also to those that stay on the host, `Padded.on_host`.
    """
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, function, on_host) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(value, function, on_host) for value in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_tensors(value, function, on_host) for value in tree)
    if hasattr(tree, "__dataclass_fields__") and not isinstance(tree, type):
        kept = tree.on_host if isinstance(tree, Padded) and not on_host else ()
        names = [each.name for each in fields(tree) if each.name not in kept]
        return replace(tree, **{name: map_tensors(getattr(tree, name), function, on_host) for name in names})
    return tree
