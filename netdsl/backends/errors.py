"""The error of this package."""

from __future__ import annotations

from netdsl.language.diagnostics import CodedError


class RunError(CodedError):
    """A network cannot run on what it was given.

    | code  | meaning                                                        |
    |-------|----------------------------------------------------------------|
    | E0711 | parameters have been neither loaded nor initialized             |
    | E0712 | an input has another shape, type or name than the network wants |
    | E0713 | a tap names no tensor                                           |
    | E0714 | there is not enough memory                                      |
    | E0715 | a layer computed another shape than its rule says (a defect)    |
    | E0716 | there is no such back-end, or it cannot run here                |
    | E0717 | NETDSL_NUM_THREADS is no number of threads                      |
    | E0718 | the GPU stopped                                                 |
    """
