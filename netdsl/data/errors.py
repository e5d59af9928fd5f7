"""The error of this package."""

from __future__ import annotations

from collections.abc import Iterable

from netdsl.language.diagnostics import CodedError

MAX_NAMED = 20
"""How many files a message names; the rest are counted."""


class DataError(CodedError):
    """Images or labels for training cannot be used.

    | code  | meaning                                                                 |
    |-------|-------------------------------------------------------------------------|
    | E0901 | the folder, table or archive cannot be opened                           |
    | E0902 | no images                                                               |
    | E0903 | fewer than two classes                                                  |
    | E0904 | a class without images                                                  |
    | E0905 | damaged images                                                          |
    | E0906 | labels that do not fit the images, the classes or the network           |
    | E0907 | a table of labels that cannot be read                                   |
    | E0908 | arrays that are no images                                               |
    | E0909 | more files, classes or bytes than a named limit                         |
    | E0910 | an optional package is missing                                          |
    | E0911 | a split that leaves nothing                                             |
    | E0912 | images of another size than the network reads                           |
    | E0913 | an augmentation that does not fit the images                            |
    """


def named(items: Iterable[str], most: int = MAX_NAMED) -> tuple[str, ...]:
    """The first of many lines for a message, and how many more there are."""
    lines = list(items)
    rest = len(lines) - most
    return (*lines[:most], f"... and {rest:_} more") if rest > 0 else tuple(lines)
