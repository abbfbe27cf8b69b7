"""Parameters that the optimizer moves otherwise than the rest: by the part that they lie in, and by its depth.

Layers of a part are numbered from 0, what lies before its blocks, over 1 to L, its blocks, to L + 1, what comes after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from torch import nn

from sensorium.engine.settings import Optimizer, Part
from sensorium.errors import UserError, unknown

_LISTS = (nn.ModuleList, nn.Sequential)


def inside(settings: Optimizer, part: Part) -> Optimizer:
    """Returns the options of an optimizer in a part, without other parts."""
    return replace(
        settings,
        lr=settings.lr if part.lr is None else part.lr,
        weight_decay=settings.weight_decay if part.weight_decay is None else part.weight_decay,
        options={**settings.options, **part.options},
        parts={},
    )


def by_part(settings: Optimizer, names: Iterable[str], task: nn.Module) -> dict[str, Optimizer]:
    """Returns the options for each parameter of a model; those of an inner part win over those of an outer one.

    With `layer_decay` d the rate of layer l is that of the part times d ** (L + 1 - l) (H. Bao et al., BEiT: BERT
    Pre-Training of Image Transformers, ICLR 2022; K. He et al., Masked Autoencoders Are Scalable Vision Learners,
    CVPR 2022, table 9).
    """
    parts = sorted(settings.parts.items(), key=lambda item: len(item[0]))  # the outer ones first
    above = {name: _above(task.get_submodule(name)) for name, part in parts if part.layer_decay is not None}
    found = {}
    for parameter in names:
        own, share = settings, 1.0
        for name, part in parts:
            if parameter.startswith(f"{name}."):
                own = inside(own, part)
                if part.layer_decay is not None:
                    share = part.layer_decay ** above[name][parameter.removeprefix(f"{name}.")]
        found[parameter] = replace(own, lr=own.lr * share, parts={})
    return found


def check(settings: Optimizer, where: str, task: nn.Module, trained: Collection[str]) -> None:
    """Refuses options for a part that is not there, of which nothing is trained, or whose blocks cannot be counted.

    Args:
        settings: The optimizer.
        where: Its place in the experiment.
        task: The model.
        trained: Names of the parameters that this optimizer moves.

    Raises:
        UserError: Names the part, and the nearest one that there is.
    """
    modules = dict(task.named_modules())
    for name, part in settings.parts.items():
        if not name or name not in modules:
            error = unknown("part of the model", name, modules, f"{where}.parts")
            known = ", ".join(sorted(each for each in modules if each and each.count(".") < 2)[:20])
            raise UserError(
                error.wrong, f"Parts are named as modules of the task: {known}, and what lies in them.", error.hint
            )
        if not any(parameter.startswith(f"{name}.") for parameter in trained):
            raise UserError(
                f"{where}.parts names {name!r}, of which this optimizer trains nothing.",
                "It is frozen, or no objective updates it.",
                "Leave it out, or train it.",
            )
        if part.layer_decay is not None and not any(_blocks(modules[name])):
            raise UserError(
                f"{where}.parts sets layer_decay of {name!r}, which has no blocks to count.",
                "Blocks are what a transformer, or a residual network, has one after another.",
                "Leave it out, or name a part that holds such a network.",
            )


def _above(module: nn.Module) -> dict[str, int]:
    """Returns the number of layers that lie above each parameter of a part, L + 1 - l."""
    blocks = list(_blocks(module))
    found, seen = {}, 0
    for name, _ in module.named_parameters(remove_duplicate=False):
        inner = next((number for number, block in enumerate(blocks, 1) if name.startswith(f"{block}.")), None)
        layer = inner or (seen + 1 if seen else 0)  # what brings to a smaller grid goes with the block after it
        seen = max(seen, inner or 0)
        found[name] = len(blocks) + 1 - layer
    return found


def _blocks(module: nn.Module, place: str = "") -> Iterator[str]:
    """Yields the names of blocks in their order: composite entries of lists, or those of the stages that lists hold."""
    for name, child in module.named_children():
        if isinstance(module, _LISTS) and _is_block(child) and not _is_stage(child):
            yield f"{place}{name}"
        else:
            yield from _blocks(child, f"{place}{name}.")


def _is_block(module: nn.Module) -> bool:
    return not isinstance(module, _LISTS) and any(True for _ in module.children())


def _is_stage(module: nn.Module) -> bool:
    lists = [child for child in module.children() if isinstance(child, _LISTS)]
    return any(len(each) > 0 and all(map(_is_block, each)) for each in lists)  # type: ignore[arg-type]
