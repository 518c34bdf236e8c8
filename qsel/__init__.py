"""Quadruplet selection for deep embedding learning.

An executable companion to Karaman, Gundogdu, Koç and Alatan, "Quadruplet Selection
Methods for Deep Embedding Learning", ICIP 2019.
"""

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
