"""Networks in the notation of the board, as a picture and as text: `32x32x1 -> CONV 5x5 s1 6 -> TANH -> 28x28x6 -> ...`"""

from netdsl.draw.board.draw import draw
from netdsl.draw.board.text import text

__all__ = ["draw", "text"]
