"""Checks of what computes: encoders, fusions, decoders, and a task's forward pass.

Shapes: B samples, T tokens, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.export import Dim

from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.modalities import examples, of_form
from sensorium.conformance.options import probed
from sensorium.contracts.data import Features, map_tensors
from sensorium.contracts.modality import Modality
from sensorium.contracts.parts import Decoder, Encoder, Fusion
from sensorium.errors import UserError
from sensorium.plugins import Plugins

COUNT = 5
"""Samples that are sent through a module."""
WIDTH = 8
"""D of the made-up features that fusions and decoders get."""
TOLERANCE = 1e-4
"""Largest difference relative to the largest value, for sums in another order."""

Rows = list[dict[str, Tensor]]


@dataclass
class Subject:
    """A module with what it takes to build and call it.

    Attributes:
        build: Returns it with fresh weights.
        call: Module and places of the chosen samples -> for each, name -> what comes out.
        learn: What it learns without gradients, which has to be saved, too.
        tensors: Returns a module that takes tensors alone, and the tensors; for `torch.export`.
        exportable: Whether it says that it can be exported.
    """

    build: Callable[[], nn.Module]
    call: Callable[[nn.Module, Sequence[int]], Rows]
    learn: Callable[[nn.Module], object] = lambda module: None
    tensors: Callable[[nn.Module], tuple[nn.Module, tuple[Any, ...]]] = lambda module: (module, ())
    exportable: bool = False


class _Flat(nn.Module):
    """Calls a module with tensors, and returns the tensors of its result."""

    def __init__(self, module: nn.Module, shape: Any) -> None:
        super().__init__()
        self.module, self.shape = module, shape

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        found: list[Tensor] = []
        map_tensors(self.module(map_tensors(self.shape, lambda _: next(given))), found.append)
        return tuple(found)


def flat(module: nn.Module, value: Any) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Returns a module of tensors alone, and the tensors of `value`."""
    tensors: list[Tensor] = []
    map_tensors(value, tensors.append)
    return _Flat(module, value), tuple(tensors)


def encoder(component: type[Encoder], plugins: Plugins, form: str) -> Subject:
    """Returns an encoder with examples of a form that it takes."""
    config = probed(component, plugins)
    modality = of_form(form, plugins)
    values = examples(modality, COUNT)

    def call(module: Any, rows: Sequence[int]) -> Rows:
        features = module(modality.collate([values[row] for row in rows]))
        check_features(features, len(rows), module.dim)
        return _rows(features)

    return Subject(
        lambda: config.build(modality),
        call,
        tensors=lambda m: flat(m, modality.collate(values)),
        exportable=component.exportable,
    )


def fusion(component: type[Fusion], plugins: Plugins) -> Subject:
    """Returns a fusion of two fields with made-up features."""
    config = probed(component, plugins)

    def call(module: Any, rows: Sequence[int]) -> Rows:
        joint = module({"first": features(1, rows), "second": features(2, rows)})
        dims: dict[str, int] = module.dims
        if set(joint) != set(dims):
            raise ContractError(f"It returns {', '.join(joint)}; `dims` names {', '.join(dims)}.")
        for name, each in joint.items():
            check_features(each, len(rows), dims[name])
        parts = [_rows(each) for each in joint.values()]
        return [
            {
                f"{name}.{key}": value
                for name, part in zip(joint, parts, strict=True)
                for key, value in part[row].items()
            }
            for row in range(len(rows))
        ]

    everything = {"first": features(1, range(COUNT)), "second": features(2, range(COUNT))}
    return Subject(
        lambda: config.build({"first": WIDTH, "second": WIDTH}),
        call,
        tensors=lambda m: flat(m, everything),
        exportable=component.exportable,
    )


def decoder(component: type[Decoder], plugins: Plugins) -> Subject:
    """Returns a decoder with made-up features, to the first form of modality that it agrees to."""
    config = probed(component, plugins)
    modality = _output(lambda modality: config.build(WIDTH, modality), plugins)

    def call(module: nn.Module, rows: Sequence[int]) -> Rows:
        result = module(features(1, rows))
        if not isinstance(result, Tensor) or len(result) != len(rows):
            raise ContractError(f"{len(rows)} samples do not come out as a tensor of {len(rows)}.")
        return [{"output": row} for row in result]

    return Subject(
        lambda: config.build(WIDTH, modality),
        call,
        tensors=lambda m: flat(m, features(1, range(COUNT))),
        exportable=component.exportable,
    )


def features(seed: int, rows: Sequence[int]) -> Features:
    """Returns features of chosen samples, padded to the longest of them."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (COUNT,), generator=random)
    pooled = torch.randn(COUNT, WIDTH, generator=random)
    tokens = torch.randn(COUNT, 6, WIDTH, generator=random)
    chosen = torch.tensor(list(rows))
    mask = torch.arange(int(lengths[chosen].max())) < lengths[chosen][:, None]
    return Features(pooled[chosen], tokens[chosen][:, : mask.shape[1]] * mask[..., None], mask)


def rows_stand_alone(subject: Subject) -> str:
    """Checks that what comes out of a sample does not depend on its neighbours or on padding."""
    module = _seeded(subject.build).eval()
    with torch.no_grad():
        together = subject.call(module, range(COUNT))
        for place, row in enumerate(together):
            alone = subject.call(module, [place])[0]
            for name, value in row.items():
                if value.shape != alone[name].shape:
                    raise ContractError(
                        f"{name} has the shape {tuple(value.shape)} in a batch, {tuple(alone[name].shape)} alone."
                    )
                if not value.is_floating_point():
                    continue
                if not value.isfinite().all():
                    raise ContractError(f"{name} is not finite.")
                difference = float((value - alone[name]).abs().max() / value.abs().max().clamp_min(1e-6))
                if difference > TOLERANCE:
                    raise ContractError(
                        f"{name} of a sample alone and in a batch differ by {difference:.1e} of the largest value."
                    )
    return f"{COUNT} samples, alone as in a batch"


def gradients_reach_every_parameter(subject: Subject) -> str:
    """Checks that each parameter moves something that comes out."""
    module = _seeded(subject.build).train()
    parameters = {name: value for name, value in module.named_parameters() if value.requires_grad}
    if not parameters:
        raise InapplicableError("It has no parameters.")
    nudge(parameters.values())
    random = torch.Generator().manual_seed(2)
    total = torch.zeros(())
    for row in subject.call(module, range(COUNT)):
        for value in row.values():
            if value.requires_grad:
                total = total + (value.float() * torch.randn(value.shape, generator=random)).sum()
    if not total.requires_grad:
        raise ContractError("Nothing that comes out has a gradient.")
    total.backward()
    idle = [name for name, value in parameters.items() if value.grad is None or not value.grad.any()]
    if idle:
        raise ContractError(f"No gradient reaches {', '.join(idle)}.")
    return f"{len(parameters)} parameters"


def nudge(parameters: Any) -> None:
    """Moves weights a little, so that a gate that begins at zero passes gradients."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters:
            parameter += 0.01 * torch.randn(parameter.shape, generator=random)


def follows_the_seed(subject: Subject) -> str:
    """Checks that weights and training passes follow from torch's seed."""
    first, second = _seeded(subject.build), _seeded(subject.build)
    differing = [n for n, value in first.state_dict().items() if not torch.equal(value, second.state_dict()[n])]
    if differing:
        raise ContractError(f"Built twice from one seed, {', '.join(differing)} differ.")
    passes = []
    for module in (first, second):
        torch.manual_seed(5)
        passes.append(subject.call(module.train(), range(COUNT)))
    for one, other in zip(*passes, strict=True):
        for name, value in one.items():
            if not torch.equal(value, other[name]):
                raise ContractError(f"{name} differs between two training passes of one seed.")
    return "weights and training passes"


def survives_saving(subject: Subject) -> str:
    """Checks that what was saved and loaded elsewhere computes the same."""
    module = _seeded(subject.build)
    subject.call(module.train(), range(COUNT))  # so that running statistics have moved
    subject.learn(module)
    kept = {name: value.clone() for name, value in module.state_dict().items()}
    other = _seeded(subject.build, 9)
    other.load_state_dict(load(save(kept)) if kept else {})
    with torch.no_grad():
        pairs = zip(subject.call(module.eval(), range(COUNT)), subject.call(other.eval(), range(COUNT)), strict=True)
        for one, another in pairs:
            for name, value in one.items():
                if not torch.equal(value, another[name]):
                    raise ContractError(f"{name} differs after saving and loading: something lies outside the weights.")
    return f"{len(kept)} tensors"


def exports(subject: Subject) -> str:
    """Checks that `torch.export` takes it, for any number of samples, and computes the same; or that it says no."""
    if not subject.exportable:
        raise InapplicableError("It says that it cannot be exported (`exportable = False`).")
    module, tensors = subject.tensors(_seeded(subject.build).eval())
    any_batch = tuple({0: Dim("batch", min=1)} for _ in tensors)
    with torch.no_grad():
        try:
            program = torch.export.export(module, tensors, dynamic_shapes=(any_batch,), strict=False)
        except Exception as cause:  # (export raises what it likes)
            reason = str(cause).strip().splitlines()[0][:200] if str(cause).strip() else type(cause).__name__
            raise ContractError(f"It cannot be exported ({reason}). Mend it, or say `exportable = False`.") from cause
        for mine, exported in zip(module(*tensors), program.module()(*tensors), strict=True):
            if mine.is_floating_point() and not torch.allclose(mine, exported, rtol=1e-3, atol=1e-4):
                raise ContractError("The exported program computes something else.")
    return "exported"


def _output(build: Callable[[Modality], Any], plugins: Plugins) -> Modality:
    refused = ""
    for form in ("label", "vector", "tokens", "image", "spectrogram", "waveform"):
        modality = of_form(form, plugins)
        try:
            build(modality)
        except UserError as cause:
            refused = cause.wrong
            continue
        return modality
    raise InapplicableError(f"No modality that comes along suits it ({refused}); the task that uses it checks it.")


def check_features(features: Any, count: int, dim: int) -> None:
    """Checks the shapes of what an encoder or a fusion returns for so many samples."""
    if not isinstance(features, Features):
        raise ContractError(f"It returns {type(features).__name__}, not Features.")
    if features.pooled.shape != (count, dim):
        raise ContractError(f"`pooled` has the shape {tuple(features.pooled.shape)}; ({count}, {dim}) is declared.")
    tokens = features.tokens
    if tokens is None:
        return
    if tokens.ndim != 3 or len(tokens) != count or tokens.shape[2] != dim:
        raise ContractError(f"`tokens` has the shape {tuple(tokens.shape)}; ({count}, T, {dim}) is declared.")
    if features.mask is not None and features.mask.shape != tokens.shape[:2]:
        raise ContractError(f"`mask` has the shape {tuple(features.mask.shape)}, `tokens` {tuple(tokens.shape)}.")
    if features.grid is not None and torch.Size(features.grid).numel() != tokens.shape[1]:
        raise ContractError(f"`grid` is {features.grid}, which are not {tokens.shape[1]} tokens.")


def _rows(features: Features) -> Rows:
    rows: Rows = []
    for place, pooled in enumerate(features.pooled):
        row = {"pooled": pooled}
        if features.tokens is not None:
            tokens = features.tokens[place]
            row["tokens"] = tokens if features.mask is None else tokens[features.mask[place]]
        rows.append(row)
    return rows


def _seeded(build: Callable[[], nn.Module], seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return build()
