"""The peer: torchvision, where it is installed. It is no dependency of netdsl."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from made_weights import image, weight
from numpy.typing import NDArray

_kept: list[Any] = []


def modules() -> tuple[Any, Any]:
    """torch and torchvision. Raises ImportError where they are not installed."""
    import torch

    try:
        import torchvision
    except RuntimeError:
        # Its compiled operators do not fit this torch. The classification networks need none: declare the two it names.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)  # the declarations live as long as it does
        import torchvision
    return torch, torchvision


def build(name: str) -> Any:
    """A network of torchvision with its auxiliary heads, without published weights, in evaluation mode."""
    _, torchvision = modules()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # These two take minutes to draw random weights, and theirs are replaced anyway.
        plain = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        return getattr(torchvision.models, name)(weights=None, **plain).eval()


def run(
    name: str, height: int, width: int, gain: float, head: str | None = None, source: str | None = None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
    """Made weights, and the logits (2, 1000) that torchvision's network computes with them in double precision.

    With `head`, those of an auxiliary head, which reads the output of the module `source`.
    """
    torch, _ = modules()
    network = build(name)
    state = {key: weight(key, tuple(value.shape), gain) for key, value in network.state_dict().items()}
    with torch.no_grad():
        for key, value in network.state_dict().items():
            value.copy_(torch.from_numpy(state[key]))
        network.double()
        tapped: list[Any] = []
        if source is not None:
            network.get_submodule(source).register_forward_hook(lambda module, inputs, output: tapped.append(output))
        logits = network(torch.from_numpy(image(2, height, width).astype(np.float64)))
        if head is not None:
            logits = network.get_submodule(head)(tapped[0])
        return state, logits.numpy()
