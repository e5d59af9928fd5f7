"""The error of this package."""

from __future__ import annotations

from netdsl.language.diagnostics import CodedError


class WeightError(CodedError):
    """Weights cannot be read, do not fit the network, or cannot be written.

    | code  | meaning                                                                     |
    |-------|-----------------------------------------------------------------------------|
    | E0701 | the file cannot be opened: missing, a folder, no permission                  |
    | E0702 | a format that netdsl does not read or write                                  |
    | E0703 | the file is damaged: truncated, changed, or not what its suffix says         |
    | E0704 | the file is larger than a named limit                                        |
    | E0705 | an array has the wrong kind of numbers                                       |
    | E0706 | names or shapes do not fit the network (missing, unexpected, wrong shape)    |
    | E0707 | an array holds NaN or infinity                                               |
    | E0708 | an `except` pattern matches nothing                                          |
    | E0709 | the file cannot be written                                                   |
    | E0710 | a pickle names what is no part of a tensor                                   |
    | E0731 | a file of rules cannot be read                                               |
    | E0732 | rules give two weights the same name, or a shape that does not go            |
    """
