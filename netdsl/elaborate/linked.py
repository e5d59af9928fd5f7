"""One file of a spec whose imports are resolved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netdsl.language import syntax


class LoadedModule:
    """A file, where it lies, and each name it declares or imports with the file that declares it."""

    def __init__(self, tree: syntax.Module, folder: Path | None) -> None:
        self.syntax = tree
        self.folder = folder
        self.declarations: dict[str, tuple[syntax.Declaration, LoadedModule]] = {}

    def names(self) -> Iterator[str]:
        """What an expression or step of this file can name."""
        for name, (declaration, _) in self.declarations.items():
            if not isinstance(declaration, syntax.Network | syntax.Recipe):
                yield name

    def networks(self) -> dict[str, syntax.Network]:
        """The networks that this file declares itself."""
        return {node.name: node for node in self.syntax.declarations if isinstance(node, syntax.Network)}
