"""Weights: reading and writing files of arrays, and matching them with a network by name, by rules or by position."""

from netdsl.weights.errors import WeightError
from netdsl.weights.files import open_archive, read, write
from netdsl.weights.inventory import Slot, full_name, inventory
from netdsl.weights.report import LoadReport, MismatchError, WrongShape
from netdsl.weights.rules import Rules, read_rules
from netdsl.weights.store import WeightStore
from netdsl.weights.stored import Limits

__all__ = [
    "Limits", "LoadReport", "MismatchError", "Rules", "Slot", "WeightError", "WeightStore", "WrongShape",
    "full_name", "inventory", "open_archive", "read", "read_rules", "write",
]  # fmt: skip
