"""Start a wider model from a narrower one's weights, so that no training step is lost."""

from collections.abc import Mapping

import torch

# New connections start small: the widened model begins as, nearly, the narrow one.
DAMPING = 0.1


def widen(
    narrow: Mapping[str, torch.Tensor], fresh: Mapping[str, torch.Tensor], h_s_outputs: int
) -> dict[str, torch.Tensor]:
    """Weights shaped like `fresh` (a newly initialised model) that compute almost what `narrow` does.

    The last layer of h_s stacks `h_s_outputs` tensors (scales, means) along its channels; each of them is widened by
    itself. Tensors of equal shape are taken over unchanged.
    """
    widened = {}
    for name, target in fresh.items():
        source = narrow[name].float()
        parts = h_s_outputs if name.startswith("h_s.4.") else 1
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
