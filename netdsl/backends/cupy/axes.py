"""Channels first outside, last inside. Views of any array library: the memory stays."""

from __future__ import annotations

from typing import Any


def channels_first(view: Any) -> Any:
    """(N, *spatial, C) as (N, C, *spatial)."""
    return view.transpose(0, view.ndim - 1, *range(1, view.ndim - 1)) if view.ndim > 2 else view


def channels_last(array: Any) -> Any:
    """(N, C, *spatial) as (N, *spatial, C)."""
    return array.transpose(0, *range(2, array.ndim), 1) if array.ndim > 2 else array
