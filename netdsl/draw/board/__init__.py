"""Networks in the notation of the board: `32x32x1 -> CONV 5x5 s1 6 -> 28x28x6 -> ...`, as a picture and as text."""

from netdsl.draw.board.draw import draw
from netdsl.draw.board.text import text

__all__ = ["draw", "text"]
