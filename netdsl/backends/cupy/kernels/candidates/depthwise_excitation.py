"""Depthwise convolution, squeeze and excitation as one: the candidate of `excitation.py` that has its own name."""

from netdsl.backends.cupy.kernels.candidates.excitation import DepthwiseSqueezeExcite

CANDIDATE = DepthwiseSqueezeExcite()
