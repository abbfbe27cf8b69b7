"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What one check found out about one component.

    Attributes:
        component: Kind and name, such as `encoder convnet`.
        check: Name of the check.
        ok: Whether it holds; None where the check does not apply.
        text: What was seen.
    """

    component: str
    check: str
    ok: bool | None
    text: str = ""


class ContractError(Exception):
    """A component does not do what its contract says."""


class InapplicableError(Exception):
    """A check has nothing to look at; says why."""
