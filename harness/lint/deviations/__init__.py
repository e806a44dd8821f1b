"""Where named runtimes are known not to conform to ONNX: each a rule with a source. One file a kind of hazard."""

import importlib
import pkgutil

from harness.lint.deviations.base import DEVIATIONS, Deviation, Evidence, runtimes

__all__ = ["DEVIATIONS", "Deviation", "Evidence", "runtimes"]
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
