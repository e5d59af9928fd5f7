"""Recipes: what they settle to, and what is said about those that make no sense."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import netdsl
from netdsl.elaborate import Loader
from netdsl.language.diagnostics import Diagnostic, SpecError
from netdsl.language.source import Source
from netdsl.train.errors import TrainError
from netdsl.train.find import Job, check_recipes, find_job
from netdsl.train.recipe import differences

NET = """network net(classes = 4) {
  variant wide(classes = 8)
  input image: 3x16x16
  conv1: conv(8, 3x3, padding = 1, bias = false) -> bn1: batch_norm -> relu
  layer1: { conv(8, 3x3) -> relu -> conv(8, 3x3) }
  layer2: { conv(8, 3x3) -> relu }
  fixed: conv(8, 1x1, weight = 1, bias = false, trainable = false)
  global_avg_pool -> flatten
  fc: dense(classes)
  auxiliary side: from layer1 -> global_avg_pool -> flatten -> dense(classes)
  auxiliary other: from layer2 -> global_avg_pool -> flatten -> dense(classes)
}
"""
HEAD = 'data folder("images", validation = 20%); optimizer sgd(lr = 0.1)'


def job(tmp_path: Path, body: str, settings: list[str] | None = None, of: str = "net", spec: str | None = None) -> Job:
    path = tmp_path / "spec.net"
    path.write_text(f"{NET}\nrecipe r for {of} {{\n  {body}\n}}\n")
    return find_job(spec or path, "r" if spec is None else f"{path}@r", settings=settings or [])


def findings(body: str, of: str = "net") -> list[Diagnostic]:
    return check_recipes(Loader().source(Source(f"{NET}\nrecipe r for {of} {{\n  {body}\n}}\n", "spec.net"), None))


# ------------------------------------------------------------------------------------------------------- what it means


def test_the_recipe_of_the_language_page(tmp_path: Path) -> None:
    (tmp_path / "pets.net").write_text(
        """recipe pets for resnet50(classes = 37) {
  data      folder("pets", validation = 20%, seed = 7)
  weights   "resnet50.safetensors" except fc
  augment   random_flip -> random_crop(224, padding = 16) -> rotate(15) -> shear(10) -> color(brightness = 0.2, hue = 0.05)
  optimizer sgd(lr = 0.01, momentum = 0.9, weight_decay = 1e-4)
  batch     64

  phase head { freeze all except fc;     epochs 3; cache features(views = 2) }
  phase tune { freeze conv1 to layer2;   epochs 10; lr 1e-3; schedule cosine(warmup = 1) }
}
"""
    )
    found = find_job(tmp_path / "pets.net")
    recipe = found.recipe
    head, tune = recipe.phases
    assert (recipe.batch, recipe.seed, recipe.weights_except, recipe.epochs) == (64, 0, ("fc",), 13)
    assert recipe.weights_path() == tmp_path / "resnet50.safetensors"
    assert found.network.parameters["classes"] == 37
    assert head.trainable == ("fc.weight", "fc.bias")
    assert (head.lr, tune.lr) == (0.01, 1e-3)
    # 161 parameters of ResNet-50 in all: 3 of the stem, 30 of layer1, 39 of layer2 are frozen.
    assert len(tune.trainable) == 161 - 3 - 30 - 39
    assert all(name.split(".")[0] in ("layer3", "layer4", "fc") for name in tune.trainable)
    assert head.views == 2 and tune.views is None
    assert str(tune.schedule) == "cosine(1)"
    assert str(head.optimizer) == "sgd(weight_decay = 0.0001, momentum = 0.9)"


def test_caching_features_of_random_images_is_refused(tmp_path: Path) -> None:
    body = f"{HEAD}; augment random_flip; phase head {{ freeze all except fc; epochs 3; cache features; loss cross_entropy(auxiliary = 0) }}"
    with pytest.raises(SpecError) as caught:
        job(tmp_path, body)
    assert [(found.code, found.severity) for found in caught.value.diagnostics] == [("E0964", "error")]
    (found,) = findings(body)
    assert found.code == "E0964" and "views" in (found.help or "")
    assert found.severity == "warning", "it has its form; training refuses it"


@pytest.mark.parametrize(
    ("freeze", "trained"),
    [
        ("fc", {"conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.weight", "layer1.0.bias", "layer1.2.weight", "layer1.2.bias", "layer2.0.weight", "layer2.0.bias"}),
        ("all except fc", {"fc.weight", "fc.bias"}),
        ("all except fc.bias", {"fc.bias"}),
        ("conv1 to layer1", {"layer2.0.weight", "layer2.0.bias", "fc.weight", "fc.bias"}),
        ("conv1 to layer1.0", {"layer1.2.weight", "layer1.2.bias", "layer2.0.weight", "layer2.0.bias", "fc.weight", "fc.bias"}),
        ("bn1, layer1, layer2.0.weight", {"conv1.weight", "layer2.0.bias", "fc.weight", "fc.bias"}),
        ("conv1 to fc except layer1.2, bn1.bias", {"layer1.2.weight", "layer1.2.bias", "bn1.bias"}),
    ],
)  # fmt: skip
def test_freezing(tmp_path: Path, freeze: str, trained: set[str]) -> None:
    found = job(tmp_path, f"{HEAD}; epochs 1; loss cross_entropy(auxiliary = 0); freeze {freeze}")
    assert set(found.recipe.phases[0].trainable) == trained


def test_without_phases_the_recipe_is_one(tmp_path: Path) -> None:
    (phase,) = job(tmp_path, f"{HEAD}; epochs 7").recipe.phases
    assert (phase.name, phase.epochs, phase.lr, phase.freeze) == ("train", 7, 0.1, "")
    assert "fixed.weight" not in phase.trainable and "fc.weight" in phase.trainable


def test_auxiliary_heads_and_their_weights(tmp_path: Path) -> None:
    def weights(loss: str) -> dict[str, float]:
        return dict(job(tmp_path, f"{HEAD}; epochs 1{loss}").recipe.phases[0].auxiliary)

    assert weights("") == {"side": 0.3, "other": 0.3}
    assert weights("; loss cross_entropy(auxiliary = 0.4)") == {"side": 0.4, "other": 0.4}
    assert weights("; loss cross_entropy(other = 0.1, auxiliary = 0.4)") == {"side": 0.4, "other": 0.1}
    assert weights("; loss cross_entropy(side = 0)") == {"other": 0.3}
    found = job(tmp_path, f"{HEAD}; epochs 1; loss cross_entropy(side = 0)").recipe.phases[0]
    assert not any(name.startswith("side") for name in found.trainable)


def test_a_phase_inherits_and_replaces(tmp_path: Path) -> None:
    body = f"""{HEAD}; epochs 2; clip 3; ema 0.99; schedule step(1)
  phase a {{ }}
  phase b {{ optimizer adam(lr = 0.5); epochs 3; clip value(2); schedule constant }}
  phase c {{ lr 0.7; loss mean_squared_error }}"""
    a, b, c = job(tmp_path, body).recipe.phases
    assert (a.epochs, a.lr, str(a.clip), a.ema, str(a.schedule)) == (2, 0.1, "norm(3)", 0.99, "step(1)")
    assert (b.epochs, b.lr, str(b.clip), str(b.optimizer), str(b.schedule)) == (3, 0.5, "value(2)", "adam", "constant")
    assert (c.lr, c.loss.kind, str(c.optimizer)) == (0.7, "mean_squared_error", "sgd")


def test_constants_of_the_file_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "spec.net"
    path.write_text(
        f"const rate = 0.25\nfn double(x) = 2 * x\n{NET}\nrecipe r for net(double(5)) {{ data folder('x'); optimizer sgd(lr = double(rate)); epochs 1 }}\n"
    )
    found = find_job(path)
    assert found.recipe.phases[0].lr == 0.5 and found.network.parameters["classes"] == 10


# -------------------------------------------------------------------------------------------------------- from outside


def test_settings_replace_entries_and_parameters(tmp_path: Path) -> None:
    body = f"{HEAD}; batch 8; phase a {{ epochs 2 }} phase b {{ epochs 3; lr 0.3 }}"
    body = body.replace("} phase", "}; phase")
    recipe = job(tmp_path, body, ["batch=4", "epochs=9", "seed=5", "classes=6"]).recipe
    assert (recipe.batch, recipe.seed, [phase.epochs for phase in recipe.phases]) == (4, 5, [9, 9])
    recipe = job(tmp_path, body, ["b.epochs=1", "lr=0.5", "b.freeze=conv1"]).recipe
    assert [(phase.epochs, phase.lr, phase.freeze) for phase in recipe.phases] == [(2, 0.5, ""), (1, 0.5, "conv1")]
    recipe = job(tmp_path, body, ["optimizer=adam(lr = 0.01)"]).recipe
    assert [(str(phase.optimizer), phase.lr) for phase in recipe.phases] == [("adam", 0.01), ("adam", 0.01)]
    found = job(tmp_path, body, ["classes = 6", 'data = folder("elsewhere")'])
    assert found.network.parameters["classes"] == 6
    assert found.recipe.data_base is None, "a path on the command line begins where the command runs"


@pytest.mark.parametrize(
    ("setting", "code"),
    [("batch", "E0204"), ("batch=", "E0204"), ("=3", "E0204"), ("batch=0", "E0204"), ("clases=3", "E0202"), ("a.epoch=3", "E0202"),
     ("c.epochs=3", "E0202"), ("optimizer=sdg(lr = 1)", "E0201"), ("batch=3 4", "E0204"), ("batch=3; epochs 2", "E0204"),
     ("batch=}", "E0101"), ("freeze=nothing", "E0962")],
)  # fmt: skip
def test_settings_that_make_no_sense(tmp_path: Path, setting: str, code: str) -> None:
    with pytest.raises((SpecError, TrainError)) as caught:
        job(tmp_path, f"{HEAD}; phase a {{ epochs 2 }}", [setting])
    error = caught.value
    assert (error.diagnostics[0].code if isinstance(error, SpecError) else error.code) == code


def test_a_recipe_on_another_network(tmp_path: Path) -> None:
    found = job(tmp_path, f"{HEAD}; epochs 1", spec="lenet5")
    assert found.network.name == "lenet5" and "net" in (found.note or "")
    found = job(tmp_path, f"{HEAD}; epochs 1", of="wide")
    assert found.network.name == "wide" and found.note is None and found.network.parameters["classes"] == 8
    path = tmp_path / "spec.net"
    assert find_job(f"{path}@wide", f"{path}@r").note is None
    assert find_job(f"{path}@r").network.name == "wide"


@pytest.mark.parametrize(
    ("spec", "recipe", "words"),
    [
        ("spec.net", "q", "it has r"),
        ("lenet5", None, "recipe NAME"),
        ("lenet5", "spec.net@q", "has r"),
        ("spec.net@net", "s", "has r"),
    ],
)
def test_no_such_recipe(
    tmp_path: Path, spec: str, recipe: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.net").write_text(f"{NET}\nrecipe r for net {{ {HEAD}; epochs 1 }}\n")
    with pytest.raises(TrainError) as caught:
        find_job(spec, recipe)
    assert caught.value.code == "E0965" and words in str(caught.value)


# ------------------------------------------------------------------------------------------------------ what is refused

WRONG = [
    ("epochs 1; optimizer sgd(lr = 0.1)", "E0203", "data", ""),
    ('epochs 1; data folder("x")', "E0203", "optimizer", "sgd"),
    (HEAD, "E0203", "how long", "epochs"),
    (f"{HEAD}; phase a {{ }}", "E0203", "phase `a`", "epochs"),
    ('epochs 1; data folder("x"); optimizer sgd', "E0203", "learning rate", "lr = 0.01"),
    ('epochs 1; data folder("x"); optimizer sgd(lr = -0.1)', "E0204", "-0.1", ""),
    ('epochs 1; data folder("x"); optimizer sgd(lr = 0.1, momentun = 0.9)', "E0202", "momentun", "`momentum`"),
    ('epochs 1; data folder("x"); optimizer sdg(lr = 0.1)', "E0201", "sdg", "`sgd`"),
    ('epochs 1; data folder("x"); optimizer sgd(lr = 0.1, nesterov = true)', "E0204", "momentum", ""),
    ('epochs 1; data folder("x"); optimizer sgd(lr = 0.1, decay = weigths)', "E0204", "weigths", "`weights`"),
    (f"{HEAD}; lr 0.2; epochs 1", "E0961", "twice", "lr"),
    (f"{HEAD}; epochs 0", "E0204", "epochs", ""),
    (f"{HEAD}; epochs 1.5", "E0204", "whole number", ""),
    (f"{HEAD}; epochs 1; batch 2.5", "E0204", "whole number", ""),
    (f"{HEAD}; epochs 1; ema 1", "E0204", "ema", ""),
    (f"{HEAD}; epochs 1; clip 0", "E0204", "clip", ""),
    (f"{HEAD}; epochs 1; clip norms(3)", "E0201", "norms", "`norm`"),
    (f"{HEAD}; epochs 1; schedule cosin", "E0201", "cosin", "`cosine`"),
    (f"{HEAD}; epochs 3; schedule cosine(warmup = 3)", "E0961", "warm-up", "warmup_steps"),
    (f"{HEAD}; epochs 1; loss cross_entropi", "E0201", "cross_entropi", "`cross_entropy`"),
    (f"{HEAD}; epochs 1; loss cross_entropy(sid = 0.3)", "E0202", "sid", ""),
    (f"{HEAD}; epochs 1; loss cross_entropy(side = -1)", "E0204", "side", ""),
    (f"{HEAD}; epochs 1; freeze layer3", "E0962", "layer3", "`layer"),
    (f"{HEAD}; epochs 1; freeze fc to conv1", "E0962", "comes after", "conv1 to fc"),
    (f"{HEAD}; epochs 1; freeze layer1.1", "E0962", "no parameters", ""),
    (f"{HEAD}; epochs 1; freeze conv1 except fc", "E0962", "takes nothing out", ""),
    (f"{HEAD}; epochs 1; freeze all", "E0963", "trains nothing", "except"),
    (f"{HEAD}; epochs 1; freeze all except fixed", "E0963", "trains nothing", ""),
    (f"{HEAD}; epochs 1; cache features", "E0964", "`conv1`", "freeze"),
    (f"{HEAD}; epochs 1; freeze all except fc; loss cross_entropy(auxiliary = 0); augment mixup; cache features(views = 3)", "E0964", "mixup", ""),
    (f"{HEAD}; epochs 1; freeze all except fc; loss cross_entropy(auxiliary = 0); cache features(views = 3)", "E0964", "3 views", ""),
    (f"{HEAD}; epochs 1; loss mean_squared_error; augment mixup", "E0961", "mixup", ""),
    ('epochs 1; optimizer sgd(lr = 0.1); data foldr("x")', "E0201", "foldr", "`folder`"),
    ('epochs 1; optimizer sgd(lr = 0.1); data folder("x", validation = 1.5)', "E0204", "1.5", ""),
    (f"{HEAD}; epochs 1; augment random_flop", "E0201", "random_flop", "`random_flip`"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "words", "help"), WRONG, ids=[body[-40:] for body, *_ in WRONG])
def test_what_makes_no_sense_is_said_with_a_caret(body: str, code: str, words: str, help: str) -> None:
    (found,) = findings(body)
    assert found.code == code
    assert words in found.message
    assert help in (found.help or "")
    assert found.span is not None and found.span.source.name == "spec.net"


def test_every_phase_is_looked_at_and_what_is_above_once() -> None:
    body = f"""{HEAD.replace("sgd", "sdg")}
  phase a {{ epochs 0 }}
  phase b {{ epochs 1; freeze nowhere; lr 0 }}
  phase c {{ epochs 1; schedule never }}"""
    found = findings(body)
    assert [diagnostic.code for diagnostic in found] == ["E0201", "E0204", "E0962", "E0204", "E0201"]


def test_a_number_below_zero_is_explained() -> None:
    with pytest.raises(SpecError) as caught:
        findings(f"{HEAD}; epochs -1")
    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.code == "E0101" and "`dotted`" not in diagnostic.message and "below 0" in (diagnostic.help or "")


def test_a_network_that_is_not_there_is_pointed_at(tmp_path: Path) -> None:
    path = tmp_path / "typo.net"
    path.write_text(f"{NET}\nrecipe r for nett {{ {HEAD}; epochs 1 }}\n")
    with pytest.raises(SpecError) as caught:
        find_job(path, "r")
    diagnostic = caught.value.diagnostics[0]
    assert diagnostic.code == "E0604" and diagnostic.span is not None and "`net`" in (diagnostic.help or "")


def test_recipes_are_checked_without_an_array_library(tmp_path: Path) -> None:
    (tmp_path / "good.net").write_text(f"{NET}\nrecipe r for net {{ {HEAD}; epochs 1; freeze conv1 }}\n")
    (tmp_path / "bad.net").write_text(f"{NET}\nrecipe r for net {{ {HEAD}; epochs 1; freeze conv7 }}\n")
    script = (
        "import sys\nfrom netdsl.cli.main import run\n"
        "status = run(['check', 'good.net']), run(['check', 'bad.net'])\n"
        "assert status == (0, 1), status\nassert 'numpy' not in sys.modules\n"
    )
    root = str(Path(netdsl.__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "E0962" in done.stderr and "conv1" in done.stderr


def test_differences_are_named() -> None:
    old = {"batch": 3, "phases": {"a": {"lr": 1, "ema": None}, "b": {}}}
    new = {"batch": 3, "phases": {"a": {"lr": 2, "ema": 0.9}, "c": {}}}
    assert list(differences(old, new)) == [
        "a.lr: 1, now 2",
        "a.ema: none, now 0.9",
        "b: there, now none",
        "c: none, now there",
    ]
