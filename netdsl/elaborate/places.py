"""Places in a spec that an error points at, smaller than the node it is about."""

from __future__ import annotations

from netdsl.language import syntax


def head(declaration: syntax.Declaration) -> syntax.Syntax:
    """The keyword and the name of a network."""
    start = declaration.at[0]
    return syntax.Syntax((start, start + len("network ") + len(declaration.name)))


def word(node: syntax.Syntax, name: str) -> syntax.Syntax:
    """The word that a node begins with."""
    return syntax.Syntax((node.at[0], node.at[0] + len(name)))
