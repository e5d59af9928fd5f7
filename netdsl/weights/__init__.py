"""Weights: reading and writing files of arrays, and matching them with a network by name."""

from netdsl.weights.errors import WeightError
from netdsl.weights.files import read, write
from netdsl.weights.inventory import Slot, full_name, inventory
from netdsl.weights.match import LoadReport, MismatchError, WrongShape
from netdsl.weights.store import WeightStore
from netdsl.weights.stored import Limits

__all__ = [
    "Limits", "LoadReport", "MismatchError", "Slot", "WeightError", "WeightStore", "WrongShape",
    "full_name", "inventory", "read", "write",
]  # fmt: skip
