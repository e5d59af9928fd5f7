"""From the frames of a picture to groups of parts."""

from __future__ import annotations

from collections import Counter

from netdsl.draw.flow.parts import Fork, Group, Part, Series, Step, steps_of
from netdsl.draw.picture import Frame


class Grouper:
    """Puts the parts that a frame holds, and nothing else, into a group."""

    def __init__(self, frames: list[Frame], steps: dict[int, Step]) -> None:
        self._frames = frames
        self._counts = Counter(frame for step in steps.values() for frame in step.path)

    def grouped(self, parts: Series, level: int) -> Series:
        found: Series = []
        at = 0
        shared = [self._shared(part) for part in parts]
        while at < len(parts):
            path, count = shared[at]
            if len(path) <= level:
                part = parts[at]
                if isinstance(part, Fork):
                    part.lanes = [self.grouped(lane, level) for lane in part.lanes]
                found.append(part)
                at += 1
                continue
            end = at + 1
            while end < len(parts) and len(shared[end][0]) > level and shared[end][0][level] == path[level]:
                count += shared[end][1]
                end += 1
            inner = self.grouped(parts[at:end], level + 1)
            frame = self._frames[path[level]]
            whole = count == self._counts[path[level]]
            repeats = frame.item is not None and frame.item.repeats > 1
            found.extend([Group(frame, inner)] if whole or repeats else inner)
            at = end
        return found

    @staticmethod
    def _shared(part: Part) -> tuple[tuple[int, ...], int]:
        """The frames that all steps of a part lie in, and how many steps it has."""
        path: tuple[int, ...] | None = None
        count = 0
        for step in steps_of([part]):
            count += 1
            if path is None:
                path = step.path
            elif path != step.path:
                length = 0
                while length < min(len(path), len(step.path)) and path[length] == step.path[length]:
                    length += 1
                path = path[:length]
        return path or (), count
