"""Start a wider model from a narrower one's weights, so that no training step is lost."""

from collections.abc import Mapping

import torch

# New connections start small: the widened model begins as, nearly, the narrow one.
DAMPING = 0.1


def widen(
    narrow: Mapping[str, torch.Tensor],
    fresh: Mapping[str, torch.Tensor],
    stacked: Mapping[str, int],
) -> dict[str, torch.Tensor]:
    """Weights shaped like `fresh` (a newly initialised model) that compute almost what `narrow` does.

    `stacked`: how many tensors (such as scales and means) a parameter, by the start of its name, stacks along its first
    axis; each of them is widened by itself. Tensors of equal shape are taken over unchanged.
    """
    widened = {}
    for name, target in fresh.items():
        source = narrow[name].float()
        parts = next((n for start, n in stacked.items() if name.startswith(start)), 1)
        if source.shape == target.shape:
            widened[name] = source.clone()
            continue
        pieces = []
        for old, new in zip(source.chunk(parts), target.chunk(parts), strict=True):
            piece = new.detach().clone() * DAMPING
            piece[tuple(slice(0, size) for size in old.shape)] = old
            pieces.append(piece)
        widened[name] = torch.cat(pieces)
    return widened
