"""Images: preprocessing, reading, writing, and tables of the most probable classes.

Importing this package loads no array library; `apply`, `load`, `save` and `topk` do.
"""

from netdsl.images.errors import ImageError
from netdsl.images.steps import PREPROCESS, Step, option_words

__all__ = ["PREPROCESS", "ImageError", "Step", "option_words"]
