"""The loop: what it computes, against a naive loop; what stops it; what it says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SPEC, write

from netdsl.analysis.training import default_trainable
from netdsl.cli.training_progress import epoch_line
from netdsl.data.inputs import Inputs
from netdsl.data.loader import Loader
from netdsl.language.diagnostics import CodedError, SpecError
from netdsl.train.find import find_job
from netdsl.train.finder import find_rate, suggestion
from netdsl.train.log import records
from netdsl.train.loop import Pace, Silent
from netdsl.train.losses import CrossEntropy
from netdsl.train.metrics import Sums, right_answers
from netdsl.train.plan import plan_of, scopes
from netdsl.train.reference import ReferenceEngine
from netdsl.train.session import Session
from netdsl.train.trainer import Trainer
from netdsl.weights.files import read
from netdsl.weights.store import WeightStore


def trained(folder: Path, recipe: str, *settings: str, spec: str = SPEC, **options: Any) -> Path:
    trainer = Trainer(
        write(folder, spec), recipe, settings=settings, run=folder / "run", backend=options.pop("backend", "reference"),
        pace=Pace(log_steps=1), **options,
    )  # fmt: skip
    assert trainer.run(Silent()).done
    return folder / "run"


# --------------------------------------------------------------------------------------------------- what it computes


def test_a_run_is_batches_gradients_and_updates(tmp_path: Path) -> None:
    """The same as a loop of a few lines over the loader and the reference engine, with SGD by hand."""
    run = trained(tmp_path, "plain", "seed=4")
    job = find_job(tmp_path / "small.net", "plain", settings=["seed=4"])
    session = Session(job.network, job.recipe)
    store = WeightStore(job.network)
    store.initialize(4)
    engine = ReferenceEngine(job.network, store, default_trainable(job.network), CrossEntropy())
    inputs = Inputs(session.data.training.dataset, (1, 6, 6), job.network.preprocess)
    number, losses = 0, []
    for epoch in range(2):
        for batch in Loader(inputs, session.data.training.indices, 8, seed=4, epoch=epoch, workers=0):
            losses.append(engine.step(batch.inputs, batch.targets, 4, number).loss)
            for name in engine.parameters:
                engine.parameters[name][...] -= np.float32(0.05) * engine.gradients[name]
            number += 1
    found = [record["loss"] for record in records(run / "log.jsonl") if record["event"] == "step"]
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for name, array in read(run / "weights.safetensors").items():
        np.testing.assert_allclose(array, store.values[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_frozen_weights_stay_and_their_statistics_too(tmp_path: Path) -> None:
    run = trained(tmp_path, "plain", "freeze=conv1 to bn1", "epochs=2")
    job = find_job(tmp_path / "small.net", "plain")
    fresh = Session(job.network, job.recipe).weights()
    after = read(run / "weights.safetensors")
    same = {name for name in fresh if np.array_equal(fresh[name], after[name])}
    assert same == {
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
    }


def test_the_average_is_what_is_judged_and_kept(tmp_path: Path) -> None:
    """With `ema` the final weights are the averages: with a decay of 0 they are the weights themselves."""
    run = trained(tmp_path, "plain", "ema=0.0")
    plain = tmp_path / "plain"
    plain.mkdir()
    other = trained(plain, "plain")
    a, b = read(run / "weights.safetensors"), read(other / "weights.safetensors")
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6, err_msg=name)
    slow = tmp_path / "slow"
    slow.mkdir()
    c = read(trained(slow, "plain", "ema=0.9") / "weights.safetensors")
    assert not np.allclose(c["fc.weight"], b["fc.weight"], rtol=1e-3)


def test_weights_come_from_the_recipe_s_file(tmp_path: Path) -> None:
    first = trained(tmp_path, "plain")
    other = tmp_path / "other"
    other.mkdir()
    (other / "start.safetensors").write_bytes((first / "weights.safetensors").read_bytes())
    spec = SPEC.replace(
        "recipe plain for small {",
        'recipe plain for small(classes = 3) {\n  weights "start.safetensors" except fc\n  freeze all except fc',
    )
    second = trained(other, "plain", spec=spec)
    a, b = read(first / "weights.safetensors"), read(second / "weights.safetensors")
    np.testing.assert_array_equal(a["conv1.weight"], b["conv1.weight"])
    assert not np.array_equal(a["fc.weight"], b["fc.weight"])


def test_auxiliary_heads_are_trained(tmp_path: Path) -> None:
    spec = SPEC.replace(
        "  fc: dense(classes)\n", "  fc: dense(classes)\n  auxiliary side: from conv1 -> flatten -> dense(classes)\n"
    )
    run = trained(tmp_path, "plain", spec=spec)
    job = find_job(tmp_path / "small.net", "plain")
    fresh = Session(job.network, job.recipe).weights()
    after = read(run / "weights.safetensors")
    (name,) = [name for name in fresh if name.startswith("side") and name.endswith("weight")]
    assert not np.array_equal(fresh[name], after[name])


def test_targets_that_are_arrays(tmp_path: Path) -> None:
    """A 3x3 filter learns what made the targets, by mean squared error."""
    random = np.random.default_rng(0)
    images = random.uniform(size=(64, 8, 8)).astype(np.float32)
    kernel = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    targets = (windows * kernel).sum(axis=(3, 4))[:, None].astype(np.float32)
    np.savez(tmp_path / "edges.npz", x=images, y=targets)
    spec = """network edge() {\n  input image: 1x8x8\n  f: conv(1, 3x3, bias = false)\n}\n
recipe learn for edge {\n  data arrays("edges.npz", white = 1)\n  optimizer sgd(lr = 0.3, momentum = 0.9)\n  loss mean_squared_error\n  batch 16\n  epochs 60\n}\n"""
    run = trained(tmp_path, "learn", spec=spec)
    np.testing.assert_allclose(read(run / "weights.safetensors")["f.weight"][0, 0], kernel, atol=1e-3)


def test_a_last_batch_of_one_is_left_out_before_a_batch_norm(tmp_path: Path) -> None:
    run = trained(tmp_path, "plain", "batch=11", "epochs=1")  # 45 images: 4 batches of 11, and one image
    assert sum(record["event"] == "step" for record in records(run / "log.jsonl")) == 4


# ------------------------------------------------------------------------------------------------------ what stops it


def stopped(folder: Path, *settings: str, spec: str = SPEC) -> CodedError:
    trainer = Trainer(write(folder, spec), "plain", settings=settings, run=folder / "run", backend="numpy")
    with pytest.raises(CodedError) as caught:
        trainer.run(Silent())
    return caught.value


def test_a_loss_that_diverges_names_step_and_layer(tmp_path: Path) -> None:
    spec = SPEC.replace(" -> bn1: batch_norm", "")
    error = stopped(tmp_path, "lr=1e25", "clip=1e30", spec=spec)
    assert error.code == "E0971"
    assert "step 2" in error.message or "step 3" in error.message
    assert "`conv" in error.message or "`fc`" in error.message
    assert "smaller learning rate" in (error.help or "")
    assert any("last good checkpoint" in note and "0000000000" in note for note in error.notes)
    assert [record["event"] for record in records(tmp_path / "run" / "log.jsonl")][-1] == "diverged"
    from netdsl.train.checkpoint import Checkpoints, finite

    loaded, notes = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert finite(loaded.arrays) is None and not notes, "the last checkpoint is a good one"


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_images_that_are_not_finite_are_named(tmp_path: Path) -> None:
    spec = SPEC.replace("  conv1:", "  preprocess normalize(mean = 0, std = 1e-45)\n  conv1:")
    error = stopped(tmp_path, spec=spec)
    assert error.code == "E0971" and "`image`" in error.message and "preprocess" in (error.help or "")


def test_as_many_classes_as_the_data_has(tmp_path: Path) -> None:
    trainer = Trainer(write(tmp_path), "plain", settings=["classes=5"], run=tmp_path / "run")
    with pytest.raises(SpecError) as caught:
        trainer.run(Silent())
    (found,) = caught.value.diagnostics
    assert found.code == "E0906" and "3 classes" in found.message and "classes=3" in (found.help or "")
    assert found.span is not None and found.span.text.startswith("data")
    assert not (tmp_path / "run").exists(), "nothing was begun"


def test_what_is_wrong_in_the_last_phase_is_said_before_the_first(tmp_path: Path) -> None:
    spec = SPEC.replace("epochs    2\n", "phase a { epochs 1 }\n  phase b { epochs 1; loss mean_squared_error }\n")
    trainer = Trainer(write(tmp_path, spec), "plain", run=tmp_path / "run")
    with pytest.raises(SpecError) as caught:
        trainer.run(Silent())
    assert caught.value.diagnostics[0].code == "E0906"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "bad", ["network n() { input a: 3 -> dense(2) }", "network n() { input a: 2x8x8 -> flatten -> dense(3) }"]
)
def test_networks_that_read_no_images(tmp_path: Path, bad: str) -> None:
    spec = bad + SPEC[SPEC.index("recipe plain") :].replace("small {", "n {")
    trainer = Trainer(write(tmp_path, "\n" + spec.replace("recipe", "\nrecipe")), "plain", run=tmp_path / "run")
    with pytest.raises(CodedError) as caught:
        trainer.run(Silent())
    assert caught.value.code == "E0961"


# ------------------------------------------------------------------------------------------------------- what it says


def test_the_log_tells_the_run(tmp_path: Path) -> None:
    run = trained(tmp_path, "whole")
    found = list(records(run / "log.jsonl"))
    assert [record["event"] for record in found if record["event"] not in ("step", "epoch")] == [
        "start",
        "phase",
        "phase",
        "end",
    ]
    steps = [record for record in found if record["event"] == "step"]
    assert [record["step"] for record in steps] == list(range(1, 37))
    epochs = [record for record in found if record["event"] == "epoch"]
    assert [(record["phase"], record["epoch"]) for record in epochs] == [
        (p, e) for p in ("all", "head") for e in (1, 2, 3)
    ]
    for record in epochs:
        own = [each["loss"] for each in steps if record["step"] - 6 < each["step"] <= record["step"]]
        sizes = [8, 8, 8, 8, 8, 5]
        assert record["loss"] == pytest.approx(np.average(own, weights=sizes))
        assert 0 <= record["validation_accuracy"] <= 1


class Watch(Silent):
    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.phases: list[tuple[str, int, int, int]] = []

    def phase(self, phase: Any, steps: int, done: int, per_epoch: int) -> None:
        self.phases.append((phase.name, steps, done, per_epoch))

    def step(self, progress: Any, sums: Sums, lr: float) -> None:
        self.steps.append((progress.step, sums.images))


def test_a_watcher_sees_every_step(tmp_path: Path) -> None:
    watch = Watch()
    Trainer(write(tmp_path), "whole", run=tmp_path / "run", backend="numpy").run(watch)
    assert watch.phases == [("all", 18, 0, 6), ("head", 18, 0, 6)]
    assert [step for step, _ in watch.steps] == list(range(1, 37))
    assert watch.steps[5][1] == 45 and watch.steps[6][1] == 8


def test_the_plan_counts_what_will_be_done(tmp_path: Path) -> None:
    job = find_job(write(tmp_path), "whole")
    plan = plan_of(Session(job.network, job.recipe))
    assert (plan.images, plan.validation, plan.classes, plan.steps) == (45, 15, 3, 36)
    first, second = plan.phases
    # conv1 4*9, bn1 4 + 4, conv2 4*4*9 + 4, fc 64*3 + 3
    assert (first.trained, first.frozen) == (36 + 8 + 148 + 195, 0)
    assert (second.trained, second.frozen, second.scopes) == (195, 36 + 8 + 148, ("fc",))
    assert first.memory.gradients == 4 * first.trained
    assert first.memory.optimizer == 2 * 4 * first.trained, "momentum, and the average"
    assert second.memory.optimizer == 3 * 4 * second.trained, "two of adamw, and the average"
    assert second.features == 4 * 64 * 60
    assert first.rates[1] == 0.05 and first.rates[0] == pytest.approx(0.05 / 7)


def test_scopes_stand_for_their_parameters() -> None:
    order = ["a.0.weight", "a.0.bias", "a.1.weight", "b.weight", "c"]
    assert scopes(order, set(order)) == ("a", "b", "c")
    assert scopes(order, {"a.0.weight", "a.0.bias", "c"}) == ("a.0", "c")
    assert scopes(order, {"a.0.weight", "b.weight"}) == ("a.0.weight", "b")


@pytest.mark.parametrize(
    ("outputs", "targets", "expected"),
    [
        ([[1, 2], [3, 0]], [1, 1], [True, False]), ([[1, 2], [3, 0]], [[0.2, 0.8], [0.9, 0.1]], [True, True]),
        ([[[[1]], [[2]]]], [1], [[[True]]]), ([[1], [2]], [0, 1], None), ([[1, 2]], [[[0.1]]], None),
    ],
)  # fmt: skip
def test_right_answers(outputs: Any, targets: Any, expected: Any) -> None:
    found = right_answers(np.array(outputs, np.float32), np.array(targets))
    assert (None if found is None else found.tolist()) == expected


# ---------------------------------------------------------------------------------------------- learning-rate finder


def test_the_finder_suggests_a_rate_that_trains(tmp_path: Path) -> None:
    job = find_job(write(tmp_path), "plain")
    seen: list[tuple[int, float, float]] = []
    found = find_rate(Session(job.network, job.recipe, backend="numpy"), steps=60, watch=lambda *row: seen.append(row))
    assert found.rates[0] == pytest.approx(1e-7)
    ratios = np.diff(np.log(found.rates))
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    assert len(seen) == len(found.rates) == len(found.losses)
    assert 1e-4 < found.steepest <= found.smallest
    assert found.losses[found.rates.index(found.smallest)] == min(found.losses)


def test_the_suggestion_by_hand() -> None:
    rates = [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert suggestion(rates, [1.0, 0.95, 0.4, 0.3, 5.0]) == (1e-2, 1e-1)
    assert suggestion(rates, [1.0, 2.0, 3.0, 4.0, 5.0]) == (1e-4, 1e-4)


def test_the_mirror_gets_what_is_logged(tmp_path: Path) -> None:
    told: list[tuple[str, Mapping[str, Any]]] = []
    Trainer(write(tmp_path), "plain", run=tmp_path / "run", backend="numpy", pace=Pace(log_steps=3)).run(
        mirror=lambda run: lambda event, facts: told.append((event, facts))
    )
    logged = [record["event"] for record in records(tmp_path / "run" / "log.jsonl")]
    assert [event for event, _ in told] == logged


def test_time_that_is_waited_for_images_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by 3 s while a batch is made, and by 1 s for everything else that asks for it."""
    clock = [0.0]
    made = Loader._gather

    def slow(loader: Any, *arguments: Any) -> Any:
        clock[0] += 3
        return made(loader, *arguments)

    def now() -> float:
        clock[0] += 1
        return clock[0]

    monkeypatch.setattr(Loader, "_gather", slow)
    monkeypatch.setattr("netdsl.train.feed.time.monotonic", now)
    (epoch,) = [r for r in records(trained(tmp_path, "plain", "epochs=1") / "log.jsonl") if r["event"] == "epoch"]
    assert 0 < epoch["waited_seconds"] < epoch["seconds"]
    line = epoch_line(epoch, 1)
    assert f"{epoch['waited_seconds'] / epoch['seconds']:.0%} of the time waiting for images" in line
    assert "waiting" not in epoch_line({**epoch, "waited_seconds": 0.0}, 1)
    assert "waiting" not in epoch_line({**epoch, "seconds": 0.5, "waited_seconds": 0.4}, 1)
