"""A hand-built network that owns weights of every sort."""

import pytest
from owners import CONV, DENSE, NORM, SOBEL, build

from netdsl.ir.network import Network


@pytest.fixture
def network() -> Network:
    return build(("layer1.0.conv", CONV), ("layer1.0.bn", NORM), ("edges", SOBEL), ("fc", DENSE))
