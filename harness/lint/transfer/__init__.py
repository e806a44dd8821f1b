"""Transfer functions: from what is known of a node's inputs to what is known of its outputs. One file a kind of operator."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
OPERATORS_LOADED = True
