"""Augmentation: what a recipe may do to an image, at random, each time that it is trained on.

Importing this package loads no array library; `apply` and its neighbours do.
"""

from netdsl.data.augment.pipeline import Pipeline
from netdsl.data.augment.steps import AUGMENT, Augmentation, Geometric

__all__ = ["AUGMENT", "Augmentation", "Geometric", "Pipeline"]
