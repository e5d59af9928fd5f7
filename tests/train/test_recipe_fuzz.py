"""Whatever a recipe says, it is settled or refused with diagnostics: never another error, never without a place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.elaborate import Loader
from netdsl.language.diagnostics import SpecError
from netdsl.language.source import Source
from netdsl.train.find import check_recipes

NET = """network net(classes = 4) {
  input image: 3x8x8
  conv1: conv(2, 3x3) -> bn1: batch_norm
  layer1: { conv(2, 3x3) -> relu }
  global_avg_pool -> flatten -> fc: dense(classes)
  auxiliary side: from conv1 -> global_avg_pool -> flatten -> dense(classes)
}
"""
words = st.sampled_from(
    ["all", "except", "to", "conv1", "bn1", "layer1", "layer1.0", "layer1.1", "fc", "fc.weight", "side", "sgd", "adam", "features", "none",
     "true", "relu", "cosine", "step", "cross_entropy", "random_flip", "mixup", "norm", "value", "folder", "digits", "7x7"]
)  # fmt: skip
numbers = st.sampled_from(["0", "1", "3", "0.5", "1e-3", "20%", "1e400", "99999999999999999999", "64"])
arguments = st.sampled_from(
    ["", "()", "(0.1)", "(lr = 0.1)", "(lr = -1)", "(lr = true)", "(lr = none)", "(views = 3)", "(views = 0)", "(warmup = 1)",
     "(warmup = 1e9)", "(1, 2, 3, 4)", '("x")', "(auxiliary = 0.3)", "(side = 2)", "(side = relu)", "(momentum = [1, 2])", "(every = 1)",
     "(at = [1, 2])", "(at = [])", "(betas = (0.9, 0.99))", "(1 / 0)", "(nothing)", "(lr = 9 ** 9 ** 9)"]
)  # fmt: skip
operands = st.one_of(
    numbers,
    words,
    st.sampled_from(['"x.npz"', "->", ","]),
    st.builds(lambda word, given: word.replace(".", "") + given, words, arguments),
)
entries = st.builds(
    lambda name, given: f"{name} {' '.join(given)}",
    st.sampled_from(
        [
            "data",
            "weights",
            "augment",
            "optimizer",
            "schedule",
            "loss",
            "batch",
            "epochs",
            "lr",
            "seed",
            "freeze",
            "cache",
            "clip",
            "ema",
            "x",
        ]
    ),
    st.lists(operands, min_size=1, max_size=4),
)
sound = st.sampled_from(
    ['data folder("x")', "optimizer sgd(lr = 0.1)", "epochs 2", "freeze all except fc", "cache features", "schedule cosine(warmup = 1)",
     "loss cross_entropy(side = 0)", "augment random_flip", "ema 0.9", "clip 1.0", "lr 0.1"]
)  # fmt: skip
bodies = st.lists(st.one_of(sound, sound, entries), max_size=6).map("; ".join)


@given(bodies, st.lists(bodies, max_size=2))
@settings(deadline=None, max_examples=150)
def test_any_recipe(above: str, phases: list[str]) -> None:
    text = "; ".join([above, *(f"phase p{number} {{ {body} }}" for number, body in enumerate(phases))])
    source = Source(f"{NET}\nrecipe r for net {{ {text} }}\n", "spec.net")
    try:
        module = Loader().source(source, None)
    except SpecError:
        return  # not the text of a recipe: others test that
    found = check_recipes(module)
    for diagnostic in found:
        assert diagnostic.span is not None
        assert diagnostic.message
