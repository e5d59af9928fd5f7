"""Rules that turn the names of one scheme into those of another.

A file of rules is TOML:

    [[rename]]
    from = "blocks.0.{i:int}.conv_dw.{leaf}"
    to = "features.1.{i}.block.0.0.{leaf}"

    [[rename]]
    from = "{any:path}.gamma"
    to = "{any}.layer_scale"
    reshape = [-1, 1, 1]

    [[drop]]
    name = "{any:path}.attn_mask"

For each array the first rule that fits counts; one that no rule fits keeps its name. `axes` reorders the axes (as
numpy.transpose does), then `reshape` gives a new shape.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from netdsl.weights.errors import WeightError
from netdsl.weights.stored import Stored, shown
from netdsl.weights.template import Template, template

MAX_FILE_BYTES = 1_000_000
"""Largest file of rules."""
MAX_RULES = 2_000
"""Most rules in a file."""
MAX_NAME = 500
"""Longest name that rules are applied to, and longest pattern, in characters."""

Pattern = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Rename(_Part):
    """One rule: arrays that fit `from` are called `to`."""

    source: Pattern = Field(alias="from")
    to: Pattern
    axes: tuple[int, ...] | None = Field(default=None, max_length=32, strict=False)
    reshape: tuple[int, ...] | None = Field(default=None, max_length=32, strict=False)

    @model_validator(mode="after")
    def _check(self) -> Rename:
        found, made = self.source_template, self.to_template
        if any(kind in ("int", "path") for kind in made.places.values()):
            raise ValueError("`to` repeats what was found; kinds (`:int`, `:path`) stand in `from`")
        names = [piece.name for piece in found.pieces if not isinstance(piece, str)]
        if len(set(names)) < len(names):
            raise ValueError("`from` has two places of the same name")
        for piece in found.pieces:
            if not isinstance(piece, str) and piece.plus:
                raise ValueError("`from` cannot count; `{name+1}` stands in `to`")
        for piece in made.pieces:
            if isinstance(piece, str):
                continue
            if piece.name not in found.places:
                raise ValueError(f"`to` uses `{{{piece.name}}}`, which `from` does not have")
            if piece.plus and found.places[piece.name] != "int":
                raise ValueError(
                    f"`{{{piece.name}{piece.plus:+}}}` counts on from a number: write `{{{piece.name}:int}}` in `from`"
                )
        if self.axes is not None and sorted(self.axes) != list(range(len(self.axes))):
            raise ValueError(f"`axes` is a new order of 0 to {len(self.axes) - 1}, e.g. [3, 2, 0, 1]")
        if self.reshape is not None and (min(self.reshape, default=0) < -1 or self.reshape.count(-1) > 1):
            raise ValueError("`reshape` is a shape, in which one extent may be -1: whatever is left")
        return self

    @cached_property
    def source_template(self) -> Template:
        return template(self.source)

    @cached_property
    def to_template(self) -> Template:
        return template(self.to)


class Drop(_Part):
    """Arrays that fit `name` are left out."""

    name: Pattern

    @cached_property
    def template(self) -> Template:
        return template(self.name)

    @model_validator(mode="after")
    def _check(self) -> Drop:
        if any(not isinstance(piece, str) and piece.plus for piece in self.template.pieces):
            raise ValueError("`name` cannot count")
        return self


class Rules(_Part):
    """How the names of a file become those of a network."""

    description: str = ""
    rename: tuple[Rename, ...] = Field(default=(), max_length=MAX_RULES, strict=False)
    drop: tuple[Drop, ...] = Field(default=(), max_length=MAX_RULES, strict=False)

    def apply(self, stored: Mapping[str, Stored], source: str) -> Renamed:
        """The same arrays under their new names. Raises WeightError where two would get the same."""
        arrays: dict[str, Stored] = {}
        origin: dict[str, str] = {}
        used: set[int] = set()
        for name, array in stored.items():
            if len(name) > MAX_NAME:
                raise WeightError(
                    "E0732", f"{source}: `{shown(name)}` is too long for rules ({len(name):_} characters)"
                )
            if any(drop.template.match(name) is not None for drop in self.drop):
                continue
            new, changed = name, array
            for index, rule in enumerate(self.rename):
                found = rule.source_template.match(name)
                if found is not None:
                    used.add(index)
                    new, changed = _applied(rule, name, array, found, source)
                    break
            if new in arrays:
                raise WeightError(
                    "E0732",
                    f"{source}: `{shown(origin[new])}` and `{shown(name)}` would both be called `{shown(new)}`",
                    "make a pattern narrower, or drop one of them",
                )
            arrays[new], origin[new] = changed, name
        unused = tuple(rule.source for index, rule in enumerate(self.rename) if index not in used)
        return Renamed(arrays, origin, unused)


class Renamed:
    """Arrays under new names, and where each came from."""

    def __init__(self, arrays: dict[str, Stored], origin: dict[str, str], unused: tuple[str, ...]) -> None:
        self.arrays = arrays
        self.origin = origin
        """New name -> name in the file."""
        self.unused = unused
        """Patterns of rules that no name fitted."""


def _applied(rule: Rename, name: str, array: Stored, found: Mapping[str, str], source: str) -> tuple[str, Stored]:
    try:
        new = rule.to_template.fill(found)
    except ValueError as error:
        raise WeightError("E0732", f"{source}: `{shown(name)}` fits `{rule.source}`, but {error}") from None
    shape, read = array.shape, array.read
    if rule.axes is not None:
        if len(rule.axes) != len(shape):
            raise WeightError(
                "E0732", f"{source}: `{shown(name)}` has {len(shape)} axes, and its rule reorders {len(rule.axes)}"
            )
        shape, read = tuple(shape[axis] for axis in rule.axes), partial(_transposed, read, rule.axes)
    if rule.reshape is not None:
        wanted = _reshaped(shape, rule.reshape)
        if wanted is None:
            raise WeightError(
                "E0732",
                f"{source}: `{shown(name)}` of shape {'x'.join(map(str, shape))} cannot take the shape "
                f"{list(rule.reshape)} of its rule",
            )
        shape, read = wanted, partial(_in_shape, read, wanted)
    return new, Stored(shape, array.dtype, read)


def _reshaped(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...] | None:
    size = prod(shape)
    known = prod(extent for extent in wanted if extent != -1)
    if -1 not in wanted:
        return wanted if known == size else None
    if not known or size % known:
        return None
    return tuple(size // known if extent == -1 else extent for extent in wanted)


def _transposed(read: Callable[[], NDArray[Any]], axes: tuple[int, ...]) -> NDArray[Any]:
    return np.transpose(read(), axes)


def _in_shape(read: Callable[[], NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    return read().reshape(shape)


def read_rules(path: str | os.PathLike[str]) -> Rules:
    """Reads a file of rules. Raises WeightError."""
    path = Path(path)
    try:
        if not path.is_file():
            raise WeightError("E0731", f"{path}: there is no such file of rules")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise WeightError("E0731", f"{path} is no file of rules: it has more than {MAX_FILE_BYTES:_} bytes")
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise WeightError("E0731", f"cannot read the rules {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise WeightError(
            "E0731", f"{path} is no TOML: {error}", 'a rule is [[rename]], from = "...", to = "..."'
        ) from None
    return rules_of(content, str(path))


def rules_of(content: Any, source: str = "the rules") -> Rules:
    """Rules from what a TOML file holds: {"rename": [{"from": ..., "to": ...}]}. Raises WeightError."""
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        notes = [
            f"{'.'.join(str(step + 1) if isinstance(step, int) else step for step in found['loc'])}: "
            + found["msg"].removeprefix("Value error, ")
            for found in error.errors()[:8]
        ]
        raise WeightError(
            "E0731", f"{source}: {error.error_count()} of its entries cannot be read",
            'a rule is [[rename]], from = "old.{leaf}", to = "new.{leaf}"', notes,
        ) from None  # fmt: skip
