"""The form of recipes."""

from __future__ import annotations

import pytest

from netdsl.elaborate import Loader, check_recipes
from netdsl.language.diagnostics import Diagnostic
from netdsl.language.source import Source

# As in the language's description.
PETS = """recipe pets for resnet50(classes = 37) {
  data      folder("pets", validation = 20%, seed = 7)
  weights   "resnet50.safetensors" except fc
  augment   random_flip -> random_crop(224, padding = 16) -> rotate(15) -> shear(10) -> color(brightness = 0.2, hue = 0.05)
  optimizer sgd(lr = 0.01, momentum = 0.9, weight_decay = 1e-4)
  batch     64

  phase head { freeze all except fc;     epochs 3;  cache features }
  phase tune { freeze conv1 to layer2;   epochs 10; lr 1e-3; schedule cosine(warmup = 1) }
}
"""


def findings(text: str) -> list[Diagnostic]:
    return check_recipes(Loader().source(Source(text), None))


def test_a_recipe_of_good_form() -> None:
    assert findings(PETS) == []


@pytest.mark.parametrize(
    "text", ["all", "fc", "stem, layer1.0, layer2", "conv1 to layer2.1", "all except fc, layer4.0", "a to b, c to d"]
)
def test_what_can_be_frozen(text: str) -> None:
    assert findings(f"recipe r for lenet5 {{ freeze {text} }}") == []


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("recipe r for resnet_50 { batch 64 }", "E0604", "resnet50"), ("recipe r for lenet5 { batches 64 }", "E0202", "batch"),
        ("recipe r for lenet5 { batch \"big\" }", "E0204", "number of images"), ("recipe r for lenet5 { batch 1; batch 2 }", "E0205", "line 1"),
        ("recipe r for lenet5 { data \"pets\" }", "E0204", "folder"), ("recipe r for lenet5 { augment flip, crop }", "E0204", "->"),
        ("recipe r for lenet5 { freeze all except }", "E0204", "all except fc"), ("recipe r for lenet5 { freeze conv1 to }", "E0204", "layer2"),
        ("recipe r for lenet5 { freeze 3 }", "E0204", "names"), ("recipe r for lenet5 { weights fc }", "E0204", "safetensors"),
        ("recipe r for lenet5 { cache images }", "E0204", "features"), ("recipe r for lenet5 { epochs 3 4 }", "E0204", "a number"),
        ("recipe r for lenet5 { phase a { batch 3 } }", "E0208", ""), ("recipe r for lenet5 { phase a { }; phase a { } }", "E0205", "line 1"),
    ],
)  # fmt: skip
def test_a_recipe_of_bad_form(text: str, code: str, words: str) -> None:
    (found,) = findings(text)
    assert found.code == code
    assert words in (found.help or "")
    assert found.span is not None
