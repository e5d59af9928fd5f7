"""Losses against their definitions written out, number by number; and against PyTorch where it is installed."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from netdsl.train.errors import TrainError
from netdsl.train.losses import LOSSES, BinaryCrossEntropy, CrossEntropy, MeanSquaredError


def softmax(row):
    total = sum(exp(z) for z in row)
    return [exp(z) / total for z in row]


def cross_entropy(rows, targets, smoothing=0.0, weights=None):
    """Mean over the images of -sum t log p, written as a sum over images and classes. `targets` are lists."""
    classes = len(rows[0])
    weights = weights or [1.0] * classes
    total = 0.0
    for row, target in zip(rows, targets, strict=True):
        for t, p, w in zip(target, softmax(row), weights, strict=True):
            total -= w * ((1 - smoothing) * t + smoothing / classes) * log(p)
    return total


def differences(loss, outputs, targets, h=1e-5):
    """Derivatives by central differences, one element at a time."""
    found = np.empty(outputs.shape)
    for index in np.ndindex(outputs.shape):
        moved = outputs.copy()
        moved[index] += h
        above, _ = loss.value_and_gradient(np, moved, targets)
        moved[index] -= 2 * h
        below, _ = loss.value_and_gradient(np, moved, targets)
        found[index] = (above - below) / (2 * h)
    return found


def check(loss, outputs, targets, expected):
    value, gradient = loss.value_and_gradient(np, outputs, targets)
    assert value == pytest.approx(expected, rel=1e-12)
    assert gradient.shape == outputs.shape and gradient.dtype == outputs.dtype
    np.testing.assert_allclose(gradient, differences(loss, outputs, targets), atol=1e-9)


ROWS = np.random.default_rng(0).standard_normal((4, 3)) * 2
LABELS = np.array([2, 0, 0, 1])
HOT = np.eye(3)[LABELS].tolist()
SOFT = np.random.default_rng(1).dirichlet([1, 1, 1], 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy_of_labels(smoothing):
    loss = CrossEntropy(label_smoothing=smoothing)
    check(loss, ROWS, LABELS, cross_entropy(ROWS.tolist(), HOT, smoothing) / 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_of_soft_labels(smoothing):
    loss = CrossEntropy(label_smoothing=smoothing)
    check(loss, ROWS, SOFT, cross_entropy(ROWS.tolist(), SOFT.tolist(), smoothing) / 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_divide_by_the_weights_of_the_labels(smoothing):
    weights = [0.5, 2.0, 1.5]
    loss = CrossEntropy(label_smoothing=smoothing, class_weights=tuple(weights))
    total = sum(weights[label] for label in LABELS)
    check(loss, ROWS, LABELS, cross_entropy(ROWS.tolist(), HOT, smoothing, weights) / total)
    check(loss, ROWS, SOFT, cross_entropy(ROWS.tolist(), SOFT.tolist(), smoothing, weights) / 4)


def test_cross_entropy_at_every_position():
    outputs = np.random.default_rng(0).standard_normal((2, 3, 2, 2))
    labels = np.random.default_rng(1).integers(0, 3, (2, 2, 2))
    rows = [outputs[n, :, i, j].tolist() for n in range(2) for i in range(2) for j in range(2)]
    hot = np.eye(3)[labels.reshape(-1)].tolist()
    check(CrossEntropy(), outputs, labels, cross_entropy(rows, hot) / 8)


def test_the_same_logits_for_all_classes_give_the_logarithm_of_their_number():
    value, gradient = CrossEntropy().value_and_gradient(np, np.zeros((5, 10), np.float32), np.arange(5))
    assert value == pytest.approx(log(10), rel=1e-6)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-7)


def test_large_logits_do_not_overflow():
    outputs = np.array([[1e4, -1e4, 0.0], [-3e38, 3e38, 0.0]], np.float32)
    value, gradient = CrossEntropy().value_and_gradient(np, outputs[:1], np.array([0]))
    assert value == 0 and not gradient.any()
    value, gradient = CrossEntropy().value_and_gradient(np, outputs[:1], np.array([1]))
    assert value == 2e4
    np.testing.assert_array_equal(gradient, [[1, -1, 0]])
    with np.errstate(over="ignore"):
        value, _ = CrossEntropy().value_and_gradient(np, outputs[1:], np.array([1]))
    assert value == 0
    value, gradient = BinaryCrossEntropy().value_and_gradient(np, outputs[:1], np.array([[1, 0, 1]], np.float32))
    assert value == pytest.approx(log(2) / 3) and np.isfinite(gradient).all()


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
)
def test_adding_a_number_to_all_logits_changes_nothing(batch, classes, seed, smoothing):
    rng = np.random.default_rng(seed)
    outputs, labels = rng.standard_normal((batch, classes)), rng.integers(0, classes, batch)
    loss = CrossEntropy(label_smoothing=smoothing)
    one, one_gradient = loss.value_and_gradient(np, outputs, labels)
    two, two_gradient = loss.value_and_gradient(np, outputs + 7, labels)
    assert one == pytest.approx(two, abs=1e-12)
    np.testing.assert_allclose(one_gradient, two_gradient, atol=1e-12)
    np.testing.assert_allclose(one_gradient.sum(axis=1), 0, atol=1e-12)


def test_a_batch_is_the_mean_of_its_images():
    for loss, targets in (
        (CrossEntropy(label_smoothing=0.2), LABELS),
        (MeanSquaredError(), SOFT),
        (BinaryCrossEntropy(), SOFT),
    ):
        value, gradient = loss.value_and_gradient(np, ROWS, targets)
        parts = [loss.value_and_gradient(np, ROWS[n : n + 1], targets[n : n + 1]) for n in range(4)]
        assert value == pytest.approx(sum(part for part, _ in parts) / 4)
        np.testing.assert_allclose(gradient, np.concatenate([part / 4 for _, part in parts]), atol=1e-15)


def test_mean_squared_error():
    expected = sum(
        (z - t) ** 2 for row, target in zip(ROWS, SOFT, strict=True) for z, t in zip(row, target, strict=True)
    )
    check(MeanSquaredError(), ROWS, SOFT, expected / 12)


@pytest.mark.parametrize("positive_weight", [1.0, 3.0])
def test_binary_cross_entropy(positive_weight):
    def one(z, t):
        p = 1 / (1 + exp(-z))
        return -positive_weight * t * log(p) - (1 - t) * log(1 - p)

    loss = BinaryCrossEntropy(positive_weight=positive_weight)
    expected = sum(one(z, t) for row, target in zip(ROWS, SOFT, strict=True) for z, t in zip(row, target, strict=True))
    check(loss, ROWS, SOFT, expected / 12)
    hot = sum(one(z, t) for row, target in zip(ROWS, HOT, strict=True) for z, t in zip(row, target, strict=True))
    check(loss, ROWS, LABELS, hot / 12)
    yes_or_no = np.array([1, 0, 0, 1])
    expected = sum(one(z, t) for z, t in zip(ROWS[:, 0], yes_or_no, strict=True)) / 4
    check(loss, ROWS[:, :1].copy(), yes_or_no, expected)
    check(loss, ROWS[:, 0].copy(), yes_or_no, expected)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "code", "words"),
    [
        (CrossEntropy(), ROWS, np.array([0, 1, 3, 0]), "E0952", "label 3 of image 2 of the batch is no class: there are 3"),
        (CrossEntropy(), ROWS, np.array([0, 1, 2, -1]), "E0952", "label -1 of image 3"),
        (CrossEntropy(), ROWS, np.array([0, 1, 2]), "E0951", r"labels of shape \(3,\)"),
        (CrossEntropy(), ROWS[:, :, None, None], LABELS, "E0951", "flatten"),
        (CrossEntropy(), ROWS[0], LABELS, "E0951", r"\(N, classes\)"),
        (CrossEntropy(), ROWS, SOFT[:, :2], "E0951", r"shape \(4, 3\)"),
        (CrossEntropy(class_weights=(1.0, 2.0)), ROWS, LABELS, "E0951", "2 class weights"),
        (CrossEntropy(class_weights=(0.0, 1.0, 0.0)), ROWS[1:3], LABELS[1:3], "E0951", "class weight 0"),
        (MeanSquaredError(), ROWS, LABELS, "E0951", r"targets of shape \(4,\)"),
        (BinaryCrossEntropy(), ROWS, SOFT * 2, "E0952", "probabilities"),
        (BinaryCrossEntropy(), ROWS[:, :1], np.array([0, 1, 2, 0]), "E0952", "label 2 of image 2"),
        (BinaryCrossEntropy(), ROWS[:, :1], np.array([0, 1]), "E0951", "one label for each of 4 images"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit(loss, outputs, targets, code, words):
    with pytest.raises(TrainError, match=words) as error:
        loss.value_and_gradient(np, outputs, targets)
    assert error.value.code == code


def test_attributes_that_make_no_sense():
    for attributes in (
        {"label_smoothing": 1.5},
        {"label_smoothing": -0.1},
        {"class_weights": (-1.0, 1.0)},
        {"other": 1},
    ):
        with pytest.raises(ValidationError):
            CrossEntropy(**attributes)
    with pytest.raises(ValidationError):
        BinaryCrossEntropy(positive_weight=0.0)


def test_every_loss_is_documented():
    assert set(LOSSES) == {"cross_entropy", "mean_squared_error", "binary_cross_entropy"}
    for cls in LOSSES.values():
        assert cls.__doc__ and cls.reference
        assert all(field.description for field in cls.model_fields.values())


@pytest.mark.peer
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("positions", [(), (3, 2)])
@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_is_pytorchs(smoothing, weighted, positions, soft):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    outputs = rng.standard_normal((5, 4, *positions))
    weights = tuple(rng.uniform(0.1, 2, 4)) if weighted else None
    targets = rng.integers(0, 4, (5, *positions))
    if soft:
        targets = np.moveaxis(rng.dirichlet(np.ones(4), (5, *positions)), -1, 1)
    value, gradient = CrossEntropy(label_smoothing=smoothing, class_weights=weights).value_and_gradient(
        np, outputs, targets
    )
    z = torch.tensor(outputs, requires_grad=True)
    peer = torch.nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float64), label_smoothing=smoothing
    )
    expected = peer(z, torch.tensor(targets))
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-14)


@pytest.mark.peer
def test_the_others_are_pytorchs():
    torch = pytest.importorskip("torch")
    for loss, peer in (
        (MeanSquaredError(), torch.nn.MSELoss()),
        (BinaryCrossEntropy(), torch.nn.BCEWithLogitsLoss()),
        (BinaryCrossEntropy(positive_weight=2.5), torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.5))),
    ):
        value, gradient = loss.value_and_gradient(np, ROWS, SOFT)
        z = torch.tensor(ROWS, requires_grad=True)
        expected = peer(z, torch.tensor(SOFT))
        expected.backward()
        assert value == pytest.approx(expected.item(), rel=1e-12)
        np.testing.assert_allclose(gradient, z.grad.numpy(), atol=1e-14)
