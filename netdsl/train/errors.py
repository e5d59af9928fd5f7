"""The error of training."""

from __future__ import annotations

from netdsl.language.diagnostics import CodedError


class TrainError(CodedError):
    """A network cannot be trained on what it was given.

    | code  | meaning                                                             |
    |-------|---------------------------------------------------------------------|
    | E0951 | the targets have another shape or type than the loss wants           |
    | E0952 | a label is no class of the output                                    |
    | E0953 | batch normalization has one value for each channel, and no variance  |
    | E0954 | there is nothing to train, or no such parameter or output            |
    | E0955 | a gradient has to pass a layer that has none                         |
    """
