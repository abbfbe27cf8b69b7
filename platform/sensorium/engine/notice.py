"""A notice that the machine of some worker is about to go, as spot instances get one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Notice:
    """Has every worker learn of it at the same step, from a sum that workers form at each step anyway.

    Args:
        given: Says whether this worker was told.
    """

    def __init__(self, given: Callable[[], bool]) -> None:
        self.given = given
        self.total: Tensor | None = None
        """Workers that had been told at the latest step, (); may still be on the device."""
        self.due = False
        """Whether a checkpoint is due because of it."""
        self._heard = False

    def look(self) -> None:
        """Looks at the total; the first notice makes a checkpoint due."""
        if not self._heard and self.total is not None and float(self.total) > 0:
            self._heard = self.due = True
