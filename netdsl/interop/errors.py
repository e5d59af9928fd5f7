"""What goes wrong on the way into another format."""

from __future__ import annotations

from netdsl.language.diagnostics import NetdslError


class ExportError(NetdslError):
    """A network that cannot be written in another format; the message says what and why."""
