"""The most probable classes of an image, with their names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netdsl.images.errors import ImageError

MAX_LABEL_BYTES = 10_000_000
"""Largest file of labels."""


class Guess(NamedTuple):
    """One class for one image."""

    rank: int
    """1 is the most probable."""
    class_index: int
    """Counted from 0, as in the output."""
    label: str | None
    score: float
    """The network's output for this class."""
    probability: float


def read_labels(path: str | os.PathLike[str], classes: int) -> list[str]:
    """One label a line, in the order of the outputs; empty lines at the end do not count. Raises ImageError."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise ImageError(
                "E0728", f"{path} has {path.stat().st_size:_} bytes; labels have at most {MAX_LABEL_BYTES:_}"
            )
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ImageError("E0728", f"cannot read the labels {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ImageError("E0728", f"the labels {path} are not text in UTF-8", "write one label a line") from None
    labels = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if len(labels) != classes:
        hint = "one label a line, one for each class"
        if len(labels) == classes + 1:
            hint += "; some lists begin with a line for the background, which the network does not have"
        raise ImageError("E0728", f"{path} has {len(labels)} labels, the network has {classes} classes", hint)
    return labels


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """(N, classes) -> probabilities of the same shape; the largest score is subtracted, so nothing overflows."""
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def top_k(
    output: NDArray[Any], k: int = 5, labels: Sequence[str] | None = None, *, are_probabilities: bool = False
) -> list[list[Guess]]:
    """The `k` most probable classes of each image, best first; equal scores in the order of the classes.

    `output` has shape (N, classes), or (N, classes, 1, 1). It is taken for logits, and their softmax for probabilities,
    unless `are_probabilities`, for a network that ends in a softmax of its own. Raises ImageError where it is no list
    of classes or holds NaN.
    """
    scores = output.reshape(output.shape[:2]) if output.ndim > 2 and output[0, 0].size == 1 else output
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise ImageError(
            "E0728",
            f"an output of shape ({', '.join(map(str, output.shape))}) is no list of classes",
            "write it to a file: --output map.png or map.npy",
        )
    if not np.isfinite(scores).all():
        raise ImageError("E0728", "the output holds NaN or infinity, so there is no best class")
    probabilities = scores if are_probabilities else softmax(scores)
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, : max(1, k)]
    return [
        [
            Guess(rank, int(index), labels[index] if labels else None, float(row[index]), float(chances[index]))
            for rank, index in enumerate(best, 1)
        ]
        for row, chances, best in zip(scores, probabilities, order, strict=True)
    ]
