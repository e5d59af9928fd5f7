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
    | E0961 | entries of a recipe, the network and the data contradict each other  |
    | E0962 | `freeze` names nothing                                               |
    | E0963 | a phase trains nothing                                               |
    | E0964 | features cannot be cached                                            |
    | E0965 | no such recipe                                                       |
    | E0971 | the loss, a gradient or a weight is not finite                       |
    | E0972 | a checkpoint, or the log, cannot be written                          |
    | E0973 | a folder is no run, or a checkpoint is damaged                       |
    | E0974 | the folder of a run is in use                                        |
    | E0975 | spec, recipe or data are not those that a run began with             |
    | E0976 | a checkpoint is of another network                                   |
    | E0977 | an optional package is missing                                       |
    | E0978 | features cannot be written                                           |
    | E0979 | a log cannot be read                                                 |
    """
