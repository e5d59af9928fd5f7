"""The error of this package."""

from __future__ import annotations

from netdsl.language.diagnostics import CodedError


class DrawError(CodedError):
    """A drawing cannot be made.

    | code  | meaning                                                             |
    |-------|---------------------------------------------------------------------|
    | E0801 | there is no Graphviz to lay it out, no Typst to make a PNG or PDF    |
    | E0802 | the end of the file's name says no format that a drawing can have   |
    | E0803 | the file cannot be written                                          |
    | E0804 | there would be more boxes than the limit                            |
    | E0805 | Graphviz or Typst failed                                            |
    | E0806 | there is no such style, or no scope of a name that is to be opened  |
    """
