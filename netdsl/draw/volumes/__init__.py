"""Networks as the lecture and the papers draw them: feature maps as boxes in perspective, operations between them.

After LeCun et al. (1998), figure 2, and Krizhevsky et al. (2012), figure 2: a box is as high and goes as far back as
its maps, and is as wide as there are maps.
"""

from netdsl.draw.volumes.draw import draw

__all__ = ["draw"]
