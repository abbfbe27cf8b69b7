"""A part of a model written down as a graph: named tensors in, named tensors out, for any number of samples.

Shapes: B samples of a batch.
"""

from __future__ import annotations

import inspect
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sensorium.contracts.data import Batch, Padded
from sensorium.contracts.exported import Exported, Plain
from sensorium.contracts.modality import Modality
from sensorium.contracts.reading import read
from sensorium.errors import SensoriumError

COUNT = 3
"""Samples that it is traced with, an odd number that sizes seldom have."""
DRAWS = 8
"""Made-up samples among which the sizes that vary are found."""


@dataclass
class Given(Batch):
    """A batch without ids, whose random numbers are given: by kind and name, (B, ...).

    Those that are not there are drawn as `predict` draws them, and kept.
    """

    drawn: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def normal(self, name: str, *shape: int) -> Tensor:
        """Returns the given numbers in place of those of the samples."""
        return self._given("normal", name, super().normal, shape)

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Returns the given numbers in place of those of the samples."""
        return self._given("uniform", name, super().uniform, shape)

    def _given(self, kind: str, name: str, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        if (kind, name) not in self.drawn:
            self.drawn[kind, name] = draw(name, *shape)
        return self.drawn[kind, name]


@dataclass(frozen=True)
class Traced:
    """A part of a model as a graph.

    Attributes:
        exported: What it is.
        program: Takes and returns tensors by name.
        inputs: Field -> names of its tensors, in the order of their structure.
        outputs: Output -> names of its tensors.
        drawn: Name of a tensor of random numbers -> their kind, `normal` or `uniform`, and the name they are drawn by.
    """

    exported: Exported
    program: ExportedProgram
    inputs: Mapping[str, Sequence[str]]
    outputs: Mapping[str, Sequence[str]]
    drawn: Mapping[str, tuple[str, str]]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Name -> what stands for a tensor in the graph, with dtype and shape; of inputs, then of outputs."""
        nodes = {node.name: node.meta["val"] for node in self.program.graph.nodes if "val" in node.meta}
        signature = self.program.graph_signature
        given = [*(name for names in self.inputs.values() for name in names), *self.drawn]
        made = [name for names in self.outputs.values() for name in names]
        held = {name: nodes[node] for name, node in zip(made, signature.user_outputs, strict=True)}
        return {name: nodes[node] for name, node in zip(given, signature.user_inputs, strict=True)} | held


def trace(task: nn.Module, exported: Exported) -> Traced:
    """Returns a part of a model as a graph.

    Args:
        task: What the function computes with, on the processor and in evaluation mode.
        exported: The part.

    Raises:
        SensoriumError: It does something that a graph cannot hold, or returns what it does not declare.
    """
    example = examples(exported.inputs)
    with torch.no_grad():
        answer = dict(exported.function(example))  # draws the random numbers, and what is kept between calls
    undeclared = [name for name in answer if name not in exported.outputs]
    if undeclared or not answer:
        raise SensoriumError(
            f"An exported part answers {', '.join(undeclared) or 'nothing'}.",
            f"Its `outputs` declare {', '.join(exported.outputs)}.",
        )
    drawn = {_name(f"{kind} {name}"): (kind, name) for kind, name in example.drawn}
    inputs = {name: list(leaves(name, value)) for name, value in example.fields.items()}
    taken = {each for names in inputs.values() for each in names}
    outputs = {
        name: [f"{leaf}_out" if leaf in taken else leaf for leaf in leaves(name, value)]
        for name, value in answer.items()
    }
    tensors = {leaf: tensor for name, value in example.fields.items() for leaf, tensor in leaves(name, value).items()}
    tensors |= {name: example.drawn[key] for name, key in drawn.items()}
    batch, free = Dim("batch", min=1), _free(exported.inputs)
    shapes = {name: {0: batch, **dict.fromkeys(free.get(name, ()), Dim.AUTO)} for name in tensors}
    function = _Function(task, exported, example, drawn, outputs, tensors)
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(function, (), tensors, dynamic_shapes=shapes, strict=False)
    except Exception as cause:  # (export raises what it likes)
        reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)[:300]
        of = f"What answers {', '.join(exported.outputs)} of {', '.join(exported.inputs)}"
        raise SensoriumError(
            f"{of} cannot be written down as a graph: {reason}.",
            "Each part was expected to be one, for any number of samples.",
            "`sensorium plugin check` names the component; predict, serve or index with the model as it is.",
        ) from cause
    return Traced(exported, program, inputs, outputs, drawn)


@torch.no_grad()
def difference(traced: Traced, count: int) -> float:
    """Returns how far the graph's numbers lie from the function's at most, as a share of the largest above 1.

    Args:
        traced: The part.
        count: Made-up samples that both are asked about.
    """
    batch = examples(traced.exported.inputs, count)
    answer = traced.exported.function(batch)
    right = [tensor for name, value in answer.items() for tensor in leaves(name, value).values()]
    given = {leaf: tensor for name, value in batch.fields.items() for leaf, tensor in leaves(name, value).items()}
    given |= {name: batch.drawn[key] for name, key in traced.drawn.items()}
    found = traced.program.module()(**given)
    names = [name for each in traced.outputs.values() for name in each]
    # Sentences of a graph are as long as they may be, those of a function as the longest.
    pairs = [
        (one.double(), found[name][tuple(map(slice, one.shape))].double())
        for one, name in zip(right, names, strict=True)
    ]
    return max(float((one - other).abs().max() / one.abs().max().clamp(min=1)) for one, other in pairs)


def examples(inputs: Mapping[str, Modality | Plain], count: int = COUNT) -> Given:
    """Returns a batch of made-up samples, each as `predict` gets it."""
    random = torch.Generator().manual_seed(0)
    return _batch(inputs, [_raw(inputs, random) for _ in range(count)])


def leaves(name: str, value: Any) -> dict[str, Tensor]:
    """Returns the tensors of a field by names: of a structure the parts', of `Padded` its own and `<name>_mask`."""
    if isinstance(value, Tensor):
        return {_name(name): value}
    return {leaf: tensor for _, own, part in _parts(name, value) for leaf, tensor in leaves(own, part).items()}


def filled(name: str, value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Returns a structure like a field's with other tensors, by the names that `leaves` gives them."""
    if isinstance(value, Tensor):
        return tensors[_name(name)]
    made = {key: filled(own, part, tensors) for key, own, part in _parts(name, value)}
    if isinstance(value, Mapping):
        return made
    if isinstance(value, (list, tuple)):
        return type(value)(made.values())
    # What stays on the host follows from the tensors.
    return replace(value, **made, **dict.fromkeys(value.on_host if isinstance(value, Padded) else ()))


def _parts(name: str, value: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yields key, name and value of the parts of a structure."""
    if isinstance(value, Mapping):
        yield from ((key, f"{name} {key}", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((place, f"{name} {place}", part) for place, part in enumerate(value))
    elif hasattr(value, "__dataclass_fields__"):
        skipped = value.on_host if isinstance(value, Padded) else ()
        for each in fields(value):
            if each.name not in skipped:
                own = name if isinstance(value, Padded) and each.name == "data" else f"{name} {each.name}"
                yield each.name, own, getattr(value, each.name)


def _name(text: str) -> str:
    """Returns a name that a graph may hold."""
    return re.sub(r"\W+", "_", text)


def _raw(inputs: Mapping[str, Modality | Plain], random: torch.Generator) -> dict[str, Any]:
    return {name: each.example(random) for name, each in inputs.items() if isinstance(each, Modality)}


def _batch(inputs: Mapping[str, Modality | Plain], raws: Sequence[Mapping[str, Any]]) -> Given:
    modalities = {name: each for name, each in inputs.items() if isinstance(each, Modality)}
    values = [read(raw, modalities, None, "Input")[0] for raw in raws]
    collated = {name: each.collate([value[name] for value in values]) for name, each in modalities.items()}
    plain = {
        name: each.example[None].expand(len(raws), *each.example.shape).clone()
        for name, each in inputs.items()
        if isinstance(each, Plain) and each.example is not None
    }
    return Given([{"id": "", **raw} for raw in raws], {name: (collated | plain)[name] for name in inputs})


def _free(inputs: Mapping[str, Modality | Plain]) -> dict[str, set[int]]:
    """Returns name of a tensor -> its axes behind B along which made-up samples differ in size."""
    random = torch.Generator().manual_seed(1)
    sizes: dict[str, list[torch.Size]] = {}
    for _ in range(DRAWS):
        for name, value in _batch(inputs, [_raw(inputs, random)]).fields.items():
            for leaf, tensor in leaves(name, value).items():
                sizes.setdefault(leaf, []).append(tensor.shape)
    return {
        leaf: {axis for axis in range(1, len(shapes[0])) if len({shape[axis] for shape in shapes}) > 1}
        for leaf, shapes in sizes.items()
    }


class _Function(nn.Module):
    """A part of a model as a module of named tensors."""

    def __init__(
        self,
        task: nn.Module,
        exported: Exported,
        example: Given,
        drawn: Mapping[str, tuple[str, str]],
        outputs: Mapping[str, Sequence[str]],
        names: Iterable[str],
    ) -> None:
        super().__init__()
        self.task = task
        self.exported, self.example, self.drawn, self.outputs = exported, example, drawn, outputs

        def forward(**tensors: Tensor) -> dict[str, Tensor]:
            return self.answer(tensors)

        # The graph takes its arguments' names from here.
        keyword = inspect.Parameter.KEYWORD_ONLY
        forward.__signature__ = inspect.Signature([inspect.Parameter(name, keyword) for name in names])  # type: ignore[attr-defined]
        self.forward = forward

    def answer(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns the outputs' tensors by name."""
        given = {name: filled(name, value, tensors) for name, value in self.example.fields.items()}
        numbers = {key: tensors[name] for name, key in self.drawn.items()}
        answer = self.exported.function(replace(self.example, fields=given, drawn=numbers))
        return {
            leaf: tensor
            for name, value in answer.items()
            for leaf, tensor in zip(self.outputs[name], leaves(name, value).values(), strict=True)
        }


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what torch says about its own work, and the graph it prints where it fails."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
