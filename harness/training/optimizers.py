"""Who moves the weights: Adam, or Muon for the kernels of convolutions and Adam for the rest.

Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) takes the nearest orthogonal matrix to the
momentum. Chains of plain convolutions and ReLUs, as scale-space flow has, learn twice as fast by it as by Adam here.
"""

from typing import Protocol

import torch
from torch import nn

ADAM, MUON = "adam", "muon"
# A kernel's learning rate beside that of everything else.
MUON_RATE = 4.0


class Optimizer(Protocol):
    def step(self) -> None: ...

    def set_rate(self, rate: float) -> None: ...

    def state_dict(self) -> dict[str, object]: ...

    def load_state_dict(self, state: dict[str, object]) -> None: ...


class Adam:
    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self._inner = torch.optim.Adam(parameters)

    def step(self) -> None:
        self._inner.step()

    def set_rate(self, rate: float) -> None:
        for group in self._inner.param_groups:
            group["lr"] = rate

    def state_dict(self) -> dict[str, object]:
        return self._inner.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        self._inner.load_state_dict(state)


class Muon:
    """Torch's Muon takes matrices only: it moves views [out, k k in] of kernels that lie in memory as channels last."""

    def __init__(self, model: nn.Module, parameters: list[nn.Parameter]) -> None:
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        self._kernels = [layer.weight for layer in layers]
        own = {id(kernel) for kernel in self._kernels}
        self._rest = Adam([p for p in parameters if id(p) not in own])
        self._views = [nn.Parameter(_matrix(kernel.data)) for kernel in self._kernels]
        for kernel, view in zip(self._kernels, self._views, strict=True):
            assert view.data_ptr() == kernel.data_ptr(), "a copy would be trained in vain"
        self._inner = torch.optim.Muon(self._views, weight_decay=0.0)

    def step(self) -> None:
        for kernel, view in zip(self._kernels, self._views, strict=True):
            view.grad = None if kernel.grad is None else _matrix(kernel.grad)
        self._inner.step()  # type: ignore[no-untyped-call]
        self._rest.step()

    def set_rate(self, rate: float) -> None:
        for group in self._inner.param_groups:
            group["lr"] = MUON_RATE * rate
        self._rest.set_rate(rate)

    def state_dict(self) -> dict[str, object]:
        return {"kernels": self._inner.state_dict(), "rest": self._rest.state_dict()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        kernels, rest = state["kernels"], state["rest"]
        assert isinstance(kernels, dict)
        assert isinstance(rest, dict)
        self._inner.load_state_dict(kernels)
        self._rest.load_state_dict(rest)


def _matrix(kernel: torch.Tensor) -> torch.Tensor:
    return kernel.permute(0, 2, 3, 1).flatten(1)


def optimizer(kind: str, model: nn.Module, parameters: list[nn.Parameter]) -> Optimizer:
    """`kind` is adam or muon; the model's kernels lie in memory as channels last."""
    return Muon(model, parameters) if kind == MUON else Adam(parameters)
