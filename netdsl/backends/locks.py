"""Locks that a fork leaves open: in the child nobody would ever release one that another thread held."""

from __future__ import annotations

import os
from threading import Lock
from typing import Protocol
from weakref import WeakSet


class Holder(Protocol):
    """What has a lock."""

    lock: Lock


_holders: WeakSet[Holder] = WeakSet()


def give_lock(holder: Holder) -> None:
    """Sets `holder.lock`, and sets it anew in every child process."""
    holder.lock = Lock()
    _holders.add(holder)


def _renew() -> None:
    for holder in _holders:
        holder.lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
