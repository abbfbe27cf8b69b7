"""The running mean of the weights, which is what evaluation and the saved model use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from sensorium.contracts import workers


class Average:
    """Exponential moving average of parameters (Polyak and Juditsky 1992).

    Args:
        parameters: Name -> parameter that is trained.
        decay: Share of the mean that a step leaves; less during the first steps, which know little yet.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.means = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Takes the weights of this step into the mean.

        Args:
            steps: Steps of the stage done, this one included.
        """
        decay = min(self.decay, steps / (steps + 9))
        for name, mean in self.means.items():
            mean.lerp_(self.parameters[name].detach(), 1 - decay)

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Has the model carry the means meanwhile, and `means` the weights of the last step."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def settle(self) -> None:
        """Makes the means the model's weights for good."""
        for name, mean in self.means.items():
            self.parameters[name].copy_(mean)

    def state(self) -> dict[str, Tensor]:
        """Returns name -> weight of the last step; while the means are in use."""
        return {f"last/{name}": workers.whole(last) for name, last in self.means.items()}

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Takes back what `state` returned, for a model that carries the means."""
        for name, parameter in self.parameters.items():
            parameter.copy_(workers.cut_like(saved[f"last/{name}"], parameter))

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, mean in self.means.items():
            parameter = self.parameters[name]
            last = parameter.detach().clone()
            parameter.copy_(mean)
            mean.copy_(last)
