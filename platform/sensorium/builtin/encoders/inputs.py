"""What encoders read of a modality and of its batches.

Shapes: B samples, T tokens or frames, D channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from sensorium import Modality, Padded, UserError


def unpack(batch: Tensor | Padded) -> tuple[Tensor, Tensor | None]:
    """Returns what a modality collated as data and mask (B, T); the mask of a plain tensor is None."""
    return (batch.data, batch.mask) if isinstance(batch, Padded) else (batch, None)


def fixed(modality: Modality, axis: int) -> int:
    """Returns the size of a modality's values along an axis.

    Raises:
        UserError: It varies without bound.
    """
    size = modality.shape[axis]
    if size is None:
        raise UserError(
            f"The {modality.form} has no size that is known along axis {axis} of {modality.shape}.",
            "The encoder builds on it.",
            "Bound it in the modality's options, or choose another encoder.",
        )
    return size


def embedding(modality: Modality, dim: int) -> nn.Embedding:
    """Returns a vector (D,) for each id of a modality.

    Raises:
        UserError: The modality has not learnt its ids yet.
    """
    if modality.vocabulary < 1:
        raise UserError(
            "The modality has no vocabulary yet.",
            "It is learnt from the training split, or restored with a checkpoint.",
            "Fit the modality before the encoder is built.",
        )
    table = nn.Embedding(modality.vocabulary, dim)
    nn.init.normal_(table.weight, std=0.02)
    return table
