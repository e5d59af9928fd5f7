"""The vocabulary as a whole: what documentation, messages and diagrams rely on for every layer."""

from __future__ import annotations

import pytest

from netdsl.ir.layer import Layer
from netdsl.ir.types import TensorType
from netdsl.layers.input import Input
from netdsl.layers.vocabulary import LAYERS, layer, option_words

CATEGORIES = {"input", "conv", "dense", "pool", "norm", "activation", "join", "reshape", "regularisation", "fixed"}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_is_documented(name):
    cls = LAYERS[name]
    assert issubclass(cls, Layer)
    assert cls.kind == name == name.lower()
    assert cls.__doc__ and cls.__doc__ != Layer.__doc__
    assert cls.reference
    assert cls.category in CATEGORIES
    assert set(cls.positional) <= set(cls.model_fields)
    for field, info in cls.model_fields.items():
        assert info.description, f"{name}.{field}"
    required = [field for field, info in cls.model_fields.items() if info.is_required()]
    assert tuple(required) == cls.positional[: len(required)]


def test_layers_are_frozen_and_hashable():
    for cls in LAYERS.values():
        if not any(info.is_required() for info in cls.model_fields.values()):
            made = cls.model_construct()
            assert hash(made) == hash(cls.model_construct())
    conv = LAYERS["conv"](filters=2, kernel=3, weight=((1, 0), (0, 1)))
    assert hash(conv) == hash(LAYERS["conv"](filters=2, kernel=3, weight=((1, 0), (0, 1))))
    with pytest.raises(ValueError):
        conv.filters = 3


def test_option_words_may_be_written_without_quotes():
    words = option_words()
    assert {"same", "half", "valid", "bilinear", "nearest", "reflect", "circular", "row", "vector"} <= words
    assert not words & {"conv", "zeros and ones", ""}


def test_input():
    assert Input(shape=(3, None, 224)).infer() == TensorType((3, None, 224))
    assert Input.arity == (0, 0)
    for shape in [(), (0, 4), (3, 2**24 + 1), (3,) * 10, (3, -1), (3, 2.0)]:
        with pytest.raises(ValueError):
            Input(shape=shape)


def test_look_up():
    assert layer("conv") is LAYERS["conv"]
    with pytest.raises(KeyError):
        layer("convolution_of_nothing")
