"""Quadruplet selection for deep embedding learning.

An executable companion to Karaman, Gundogdu, Koç and Alatan, "Quadruplet Selection
Methods for Deep Embedding Learning", ICIP 2019.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors; at run time see __getattr__
    from qsel import losses
    from qsel.hierarchy import Hierarchy, HierarchyError
    from qsel.metrics import map_at_r, nmi, recall_at_k
    from qsel.selection import Quadruplets, select_quadruplets
    from qsel.selector import QuadrupletSelector

__all__ = [
    "Hierarchy",
    "HierarchyError",
    "QuadrupletSelector",
    "Quadruplets",
    "losses",
    "map_at_r",
    "nmi",
    "recall_at_k",
    "select_quadruplets",
]
__version__ = "0.1.0"

_MODULES = {
    "Hierarchy": "hierarchy",
    "HierarchyError": "hierarchy",
    "QuadrupletSelector": "selector",
    "Quadruplets": "selection",
    "map_at_r": "metrics",
    "nmi": "metrics",
    "recall_at_k": "metrics",
    "select_quadruplets": "selection",
}


def __getattr__(name: str) -> object:
    """A public name, imported when it is first used: `qsel --help` needs no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'qsel' has no attribute {name!r}")
    if name not in _MODULES:
        return importlib.import_module(f"qsel.{name}")
    value = getattr(importlib.import_module(f"qsel.{_MODULES[name]}"), name)
    globals()[name] = value  # the next use finds it directly
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
