"""Checks of a loss: finite, differentiable, and the same on two workers as on one.

Shapes: G samples of the global batch, T tokens, D channels, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.modules import nudge
from sensorium.conformance.options import probed
from sensorium.conformance.processes import difference, on_two_workers
from sensorium.contracts import workers
from sensorium.contracts.parts import Loss
from sensorium.plugins import Plugins

GLOBAL = 12
"""G, divided evenly between two workers."""
TOLERANCE = 1e-5
"""Largest difference between numbers of workers, relative to the largest value."""


class Subject:
    """A loss with made-up arguments of its form."""

    def __init__(self, component: type[Loss], plugins: Plugins) -> None:
        if component.form not in ("pairs", "classes"):
            raise InapplicableError(f"Its form {component.form!r} is its own; the task that uses it checks it.")
        self.name, self.modules = plugins.name_of(component), plugins.modules
        torch.manual_seed(3)
        self.loss: Loss = probed(component, plugins).build()
        nudge(self.loss.parameters())


def is_finite(subject: Subject) -> str:
    """Checks the value: finite, one for each sample or their mean."""
    value = subject.loss(*_arguments(subject.loss.form, slice(None)))
    if value.shape not in ((), (GLOBAL,)):
        raise ContractError(f"For {GLOBAL} samples it returns the shape {tuple(value.shape)}, not (B,) or a mean.")
    if not value.isfinite().all():
        raise ContractError("It is not finite.")
    return f"{float(value.detach().mean()):.3f}, in {subject.loss.unit}"


def gradients_reach(subject: Subject) -> str:
    """Checks that gradients reach its arguments and its own parameters."""
    gradients = _gradients(subject.loss, slice(None))
    idle = [name for name, value in gradients.items() if not value.any()]
    if idle:
        raise ContractError(f"No gradient reaches {', '.join(idle)}.")
    return ", ".join(name for name in gradients if name != "value")


def counts_real_tokens(subject: Subject) -> str:
    """Checks a loss over classes on sentences: what the mask leaves out changes nothing, without it all count."""
    if subject.loss.form != "classes":
        raise InapplicableError("It is not a loss over classes.")
    random = torch.Generator().manual_seed(5)
    logits, target = torch.randn(GLOBAL, 4, 5, generator=random), torch.randint(5, (GLOBAL, 4), generator=random)
    mask = torch.arange(4) < 1 + torch.arange(GLOBAL)[:, None] % 4
    try:
        masked, whole = subject.loss(logits, target, mask), subject.loss(logits, target, None)
        other = subject.loss(logits.where(mask[..., None], 9 * logits.flip(-1)), target.where(mask, 0), mask)
        every = subject.loss(logits, target, torch.ones_like(mask))
    except (TypeError, RuntimeError, ValueError, IndexError) as cause:
        form = "forward(logits (B, T, C), target (B, T), mask (B, T) or None)"
        raise ContractError(f"It does not take sentences, as {form}: {str(cause).rstrip('.')}.") from cause
    if masked.shape not in ((), (GLOBAL,)):
        raise ContractError(f"For {GLOBAL} sentences it returns the shape {tuple(masked.shape)}, not (B,) or a mean.")
    if difference({"loss": masked}, {"loss": other}) > TOLERANCE:
        raise ContractError("What the mask leaves out changes the loss.")
    if difference({"loss": whole}, {"loss": every}) > TOLERANCE:
        raise ContractError("Without a mask not all tokens count alike.")
    return "the loss of real tokens alone"


def workers_change_nothing(subject: Subject) -> str:
    """Checks loss and gradients on two workers against one."""
    alone = _gradients(subject.loss, slice(None))
    together = on_two_workers(f"{__name__}:share", {"name": subject.name, "modules": subject.modules})
    far = difference(alone, together)
    if far > TOLERANCE:
        raise ContractError(f"On two workers loss or gradients differ by {far:.1e} of the largest value.")
    return f"two workers as one, within {far:.0e}"


def share(argument: Mapping[str, Any]) -> dict[str, Tensor]:
    """Returns loss and gradients over all workers; called in each of them."""
    plugins = Plugins(tuple(argument["modules"]))
    torch.manual_seed(3)
    loss: Loss = probed(plugins.find("loss", argument["name"]), plugins).build()
    nudge(loss.parameters())
    part = GLOBAL // workers.size()
    mine = _gradients(loss, slice(part * workers.rank(), part * (workers.rank() + 1)))
    whole = {}
    for name, value in mine.items():
        # Of the mean over all samples: arguments belong to one worker, parameters and value to all.
        whole[name] = (
            workers.gather_rows(value) / workers.size()
            if name.startswith("argument")
            else (workers.add(value.clone()) / workers.size())
        )
    return whole


def _gradients(loss: Loss, rows: slice) -> dict[str, Tensor]:
    arguments = _arguments(loss.form, rows)
    loss.zero_grad()
    value = loss(*arguments).mean()
    value.backward()
    found = {f"argument {place}": each.grad for place, each in enumerate(arguments) if each.requires_grad}
    found |= {name: parameter.grad for name, parameter in loss.named_parameters()}
    zero = torch.zeros(1)
    return {name: zero if grad is None else grad.clone() for name, grad in found.items()} | {
        "value": value.detach()[None]
    }


def _arguments(form: str, rows: slice) -> list[Tensor]:
    random = torch.Generator().manual_seed(4)
    if form == "classes":
        logits = torch.randn(GLOBAL, 5, generator=random)
        return [logits[rows].requires_grad_(), torch.randint(5, (GLOBAL,), generator=random)[rows]]
    a, b = (F.normalize(torch.randn(GLOBAL, 8, generator=random), dim=-1) for _ in range(2))
    groups = torch.tensor([0, 0, *range(2, GLOBAL)])  # the first two describe the same thing
    return [a[rows].clone().requires_grad_(), b[rows].clone().requires_grad_(), groups[rows]]


CHECKS = {
    "values": is_finite,
    "gradients": gradients_reach,
    "masks": counts_real_tokens,
    "two workers": workers_change_nothing,
}
