"""Losses: how far the outputs of a batch are from what they should be, and the derivative.

Legend: N images of the batch, K classes (axis 1 of the outputs), z outputs (logits), t targets.
Definitions and names are PyTorch's, with `reduction = mean`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from netdsl.ir.layer import Array
from netdsl.train.errors import TrainError


class Loss(BaseModel):
    """Base of the losses."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    kind: ClassVar[str]
    """The name of the loss in a recipe."""
    reference: ClassVar[str]

    @abstractmethod
    def value_and_gradient(self, xp: Any, outputs: Array, targets: Array) -> tuple[float, Array]:
        """The loss of a batch, and its derivative in the outputs: an array of their shape and type.

        `xp` is the array library, `outputs` have shape (N, ...). The loss is a mean, so the gradient is divided by the
        number of images already. Raises TrainError: E0951 for targets of another shape or type than this loss wants,
        E0952 for labels that are no class.
        """


class CrossEntropy(Loss):
    """Cross-entropy of the softmax of the outputs: the mean of -sum_k t_k log softmax(z)_k.

    Outputs are logits of shape (N, K) or (N, K, *positions), over axis 1. Targets are labels, integers of shape
    (N, *positions), or soft labels of the outputs' shape (mixup, distillation). Label smoothing e replaces t by
    (1 - e) t + e / K. With class weights w, each term is multiplied by w_k; the sum over labels is then divided by the
    sum of w at the labels, that over soft labels by the number of them.
    """

    kind: ClassVar[str] = "cross_entropy"
    reference: ClassVar[str] = "Szegedy et al. 2016, Rethinking the Inception, section 7; PyTorch CrossEntropyLoss"

    label_smoothing: FiniteFloat = Field(0.0, ge=0, le=1, description="Share of the target spread over all classes.")
    class_weights: tuple[Annotated[FiniteFloat, Field(ge=0)], ...] | None = Field(
        None, description="Factor of each class, e.g. larger for rare ones."
    )

    def value_and_gradient(self, xp: Any, outputs: Array, targets: Array) -> tuple[float, Array]:
        classes = _classes(self, outputs)
        weights = self._weights(xp, outputs, classes)  # (1, K, 1, ...)
        smooth = self.label_smoothing
        z = outputs - outputs.max(axis=1, keepdims=True)
        e = xp.exp(z)
        total = e.sum(axis=1, keepdims=True)
        logarithm = z - xp.log(total)
        probability = xp.divide(e, total, out=e)
        places = max(1, outputs.size // classes)
        if _labels(xp, targets):
            hot = one_hot(xp, targets, outputs)
            # With weights, PyTorch divides by the weights of the labels, and the smoothed part likewise.
            places = places if weights is None else float((hot * weights).sum(dtype=xp.float64))
            if not places:
                raise TrainError("E0951", "all labels of a batch have class weight 0, and nothing is left to divide by")
        else:
            hot = _same_shape(self, xp, outputs, targets)
        wanted = hot * (1 - smooth) + smooth / classes if smooth else hot
        if weights is not None:
            wanted = wanted * weights
        value = -float(xp.sum(_finite_products(xp, wanted, logarithm), dtype=xp.float64)) / places
        gradient = probability * wanted.sum(axis=1, keepdims=True)
        gradient -= wanted
        gradient /= places
        return value, gradient

    def _weights(self, xp: Any, outputs: Array, classes: int) -> Array | None:
        if self.class_weights is None:
            return None
        if len(self.class_weights) != classes:
            raise TrainError(
                "E0951",
                f"{self.kind} has {len(self.class_weights)} class weights, and the output has {classes} classes",
                f"give {classes}, one for each class",
            )
        shape = (1, classes) + (1,) * (outputs.ndim - 2)
        return xp.asarray(self.class_weights, dtype=outputs.dtype).reshape(shape)


class MeanSquaredError(Loss):
    """Mean of (z - t)^2 over all numbers of the outputs. Targets have the outputs' shape."""

    kind: ClassVar[str] = "mean_squared_error"
    reference: ClassVar[str] = "PyTorch MSELoss"

    def value_and_gradient(self, xp: Any, outputs: Array, targets: Array) -> tuple[float, Array]:
        error = outputs - _same_shape(self, xp, outputs, targets)
        count = max(1, outputs.size)
        value = float((error * error).sum(dtype=xp.float64)) / count
        error *= 2 / count
        return value, error


class BinaryCrossEntropy(Loss):
    """Cross-entropy of the sigmoid of each output by itself: the mean of -t log s(z) - (1 - t) log (1 - s(z)).

    Outputs are logits of any shape (N, ...); several classes may be true at once. Targets are numbers from 0 to 1 of
    the outputs' shape; or labels of shape (N): 0 or 1 where there is one output, else the class that is true.
    """

    kind: ClassVar[str] = "binary_cross_entropy"
    reference: ClassVar[str] = "PyTorch BCEWithLogitsLoss"

    positive_weight: FiniteFloat = Field(1.0, gt=0, description="Factor of the terms of true classes.")

    def value_and_gradient(self, xp: Any, outputs: Array, targets: Array) -> tuple[float, Array]:
        t = self._targets(xp, outputs, targets)
        count = max(1, outputs.size)
        e = xp.exp(-xp.abs(outputs))
        sigmoid = xp.where(outputs < 0, e, 1) / (1 + e)
        # With weight w of the true term: (1 - t) z + (1 + (w - 1) t) log(1 + e^-z), log(1 + e^-z) = max(-z, 0) + ...
        factor = 1 + (self.positive_weight - 1) * t
        value = (1 - t) * outputs + factor * (xp.maximum(-outputs, 0) + xp.log1p(e))
        gradient = (1 - t) - factor * (1 - sigmoid)
        gradient /= count
        return float(value.sum(dtype=xp.float64)) / count, gradient.astype(outputs.dtype, copy=False)

    def _targets(self, xp: Any, outputs: Array, targets: Array) -> Array:
        if not _labels(xp, targets) or targets.shape == outputs.shape != outputs.shape[:1]:
            t = _same_shape(self, xp, outputs, targets)
        elif outputs.ndim > 1 and outputs.shape[1] > 1:
            t = one_hot(xp, targets, outputs)
        else:
            if targets.size != outputs.size or targets.shape[:1] != outputs.shape[:1]:
                raise _misfit(self, outputs, targets, f"one label for each of {outputs.shape[0]} images")
            _require_labels(xp, targets, 2)
            t = targets.reshape(outputs.shape).astype(outputs.dtype)
        if t.size and not 0 <= float(t.min()) <= float(t.max()) <= 1:
            raise TrainError(
                "E0952",
                f"{self.kind} has targets from {float(t.min()):g} to {float(t.max()):g}",
                "targets are probabilities, from 0 to 1",
            )
        return t


LOSSES: dict[str, type[Loss]] = {cls.kind: cls for cls in (CrossEntropy, MeanSquaredError, BinaryCrossEntropy)}
"""Every loss by its name in a recipe."""


def one_hot(xp: Any, labels: Array, outputs: Array) -> Array:
    """1 at the label along axis 1, 0 elsewhere; of the outputs' shape and type.

    Raises TrainError E0951 where the labels are not of shape (N, *positions), E0952 for one that is no class.
    """
    shape = (outputs.shape[0], *outputs.shape[2:])
    if labels.shape != shape:
        raise TrainError(
            "E0951",
            f"labels of shape {labels.shape} for an output of shape {outputs.shape}",
            f"labels have shape {shape}"
            + (": end the network with `flatten`" if outputs.shape[2:] and not any(n > 1 for n in shape[1:]) else ""),
        )
    classes = outputs.shape[1]
    _require_labels(xp, labels, classes)
    ids = xp.arange(classes).reshape((1, classes) + (1,) * (outputs.ndim - 2))
    return (labels[:, None] == ids).astype(outputs.dtype)


def _require_labels(xp: Any, labels: Array, classes: int) -> None:
    outside = (labels < 0) | (labels >= classes)
    if bool(outside.any()):
        place = int(xp.argmax(outside.reshape(-1)))
        raise TrainError(
            "E0952",
            f"label {int(labels.reshape(-1)[place])} of image {place * len(labels) // labels.size} of the batch is no "
            f"class: there are {classes}, counted from 0 to {classes - 1}",
            "give the last layer as many outputs as there are classes, or mend the labels",
        )


def _labels(xp: Any, targets: Array) -> bool:
    return targets.dtype.kind in "iub"


def _classes(loss: Loss, outputs: Array) -> int:
    if outputs.ndim < 2:
        raise TrainError("E0951", f"{loss.kind} needs an output of shape (N, classes), and it has {outputs.shape}")
    return int(outputs.shape[1])


def _same_shape(loss: Loss, xp: Any, outputs: Array, targets: Array) -> Array:
    if targets.shape != outputs.shape:
        raise _misfit(loss, outputs, targets, f"shape {outputs.shape}")
    return targets.astype(outputs.dtype, copy=False)


def _misfit(loss: Loss, outputs: Array, targets: Array, wanted: str) -> TrainError:
    return TrainError(
        "E0951",
        f"{loss.kind} has targets of shape {targets.shape} ({targets.dtype}) for an output of shape {outputs.shape}",
        f"the targets of this loss have {wanted}",
    )


def _finite_products(xp: Any, wanted: Array, logarithm: Array) -> Array:
    """wanted * logarithm, where 0 * -inf counts as 0: a class that is not wanted may have probability 0."""
    return xp.where(wanted == 0, 0, wanted * xp.where(wanted == 0, 0, logarithm))
