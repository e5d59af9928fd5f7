"""Figures on disk, written after each of them: what was measured before an interruption is not measured again."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Item = tuple[str, Callable[[], Record]]
"""The name of a figure, and what measures it."""


def slug(name: str) -> str:
    """The name of a device as a part of a file's name: `NVIDIA H200` is nvidia-h200."""
    return "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "device"


@dataclass
class Book:
    """All figures of one machine: `parts`, by name, of records by name."""

    path: Path
    end: float = float("inf")
    """When a part has to stop (time.monotonic)."""
    say: Callable[[str], None] = print
    data: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        self.data = found if isinstance(found, dict) else {}
        if not isinstance(self.data.get("parts"), dict):
            self.data["parts"] = {}

    def part(self, name: str) -> dict[str, Record]:
        found: dict[str, Record] = self.data["parts"].setdefault(name, {})
        return found

    def measure(self, part: str, items: Iterable[Item]) -> int:
        """Measures what is not there yet, or went wrong the last time; how many are left for another run."""
        left = 0
        for name, run in items:
            known = self.part(part).get(name)
            if known is not None and "error" not in known:
                continue
            if time.monotonic() >= self.end:
                left += 1
                continue
            start = time.monotonic()
            try:
                record = run()
            except KeyboardInterrupt:
                raise
            except Exception as error:  # one figure that cannot be had must not cost the others
                told = (str(error).strip().splitlines() or [""])[0]
                record = {"error": f"{type(error).__name__}: {told}"}
            record["took_s"] = round(time.monotonic() - start, 2)
            self.part(part)[name] = record
            self.save()
            self.say(f"{part}: {name}: {_short(record)}")
        return left

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=self.path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self.data, file, indent=1, sort_keys=True)
            file.write("\n")
        Path(temporary).replace(self.path)


def _short(record: Record) -> str:
    shown = {key: value for key, value in record.items() if not isinstance(value, dict | list)}
    return ", ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in shown.items()
    )
