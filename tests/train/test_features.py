"""Cached features: the same result as without, never stale, never half-written; `netdsl features`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SPEC, write

from netdsl.analysis.cut import body_of, prefix_of
from netdsl.cli.main import run as cli
from netdsl.train import features
from netdsl.train.find import find_job
from netdsl.train.log import records
from netdsl.train.loop import Pace, Silent
from netdsl.train.session import Session
from netdsl.train.trainer import Trainer
from netdsl.weights.files import read

FROZEN = """
recipe cached for small {
  data      arrays("shapes.npz", validation = 25%)
  optimizer sgd(lr = 0.05, momentum = 0.9)
  batch     8
  freeze    conv1 to conv2
  epochs    4
  CACHE
}
"""


def train(
    folder: Path, cache: str, *settings: str, store: Path | None = None, backend: str = "numpy"
) -> tuple[Path, list[str]]:
    """Trains; returns the run and what was told."""
    spec = write(folder, SPEC + FROZEN.replace("CACHE", cache))
    notes: list[str] = []

    class Listener(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    number = len(list(folder.glob("run*")))
    trainer = Trainer(
        spec,
        "cached",
        run=folder / f"run{number}",
        settings=settings,
        backend=backend,
        features=store,
        pace=Pace(log_steps=1),
    )
    trainer.run(Listener())
    return folder / f"run{number}", notes


def losses(run: Path, event: str = "step") -> list[float]:
    return [record["loss"] for record in records(run / "log.jsonl") if record["event"] == event]


@pytest.mark.parametrize("backend", ["reference", "numpy"])
def test_the_same_result_as_without(tmp_path: Path, backend: str) -> None:
    plain, _ = train(tmp_path, "", backend=backend)
    cached, _ = train(tmp_path, "cache features", backend=backend)
    np.testing.assert_allclose(losses(cached), losses(plain), rtol=1e-5)
    a, b = read(plain / "weights.safetensors"), read(cached / "weights.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-4, atol=1e-6, err_msg=name)
    assert not np.array_equal(a["fc.weight"], read_fresh(tmp_path)["fc.weight"]), "it has learned something"
    np.testing.assert_array_equal(a["conv1.weight"], read_fresh(tmp_path)["conv1.weight"])


def read_fresh(folder: Path) -> dict[str, Any]:
    job = find_job(folder / "small.net", "cached")
    return Session(job.network, job.recipe).weights()


def test_views_are_those_of_the_first_epochs(tmp_path: Path) -> None:
    """Epoch e of a run with K views reads what epoch e mod K would have augmented."""
    plain, _ = train(tmp_path, "augment translate(20%) -> random_flip")
    cached, _ = train(tmp_path, "augment translate(20%) -> random_flip; cache features(views = 2)")
    steps = 6  # 45 images to train on, 8 at a time
    np.testing.assert_allclose(losses(cached)[: 2 * steps], losses(plain)[: 2 * steps], rtol=1e-5)
    assert not np.allclose(losses(cached)[2 * steps :], losses(plain)[2 * steps :], rtol=1e-3)
    (folder,) = (cached / "features").iterdir()
    assert [np.load(path).shape for path in sorted(folder.glob("*.npy"))] == [(2 * 45, 64), (15, 64)]


def computed(notes: list[str]) -> bool:
    return any("computing" in note for note in notes)


def test_they_are_used_again(tmp_path: Path) -> None:
    store = tmp_path / "kept"
    first, notes = train(tmp_path, "cache features", store=store)
    assert computed(notes)
    again, notes = train(tmp_path, "cache features", "lr=0.05", store=store)
    assert not computed(notes)
    assert (again / "weights.safetensors").read_bytes() == (first / "weights.safetensors").read_bytes()
    assert len(list(store.iterdir())) == 1


@pytest.mark.parametrize(
    "setting",
    ["seed=5", "freeze=conv1", 'data=arrays("OTHER", validation = 25%)', 'data=arrays("SAME", validation = 20%)', "classes=4",
     'weights="WEIGHTS"'],
)  # fmt: skip
def test_whatever_they_depend_on_makes_others(tmp_path: Path, setting: str) -> None:
    store = tmp_path / "kept"
    first, _ = train(tmp_path, "cache features", store=store)
    with np.load(tmp_path / "shapes.npz") as found:
        images = found["x"].copy()
        images[17, 2, 3] ^= 1
        labels = found["y"]
        np.savez(
            tmp_path / "other.npz",
            x=images,
            y=np.where(labels == 2, 3, labels) if setting.startswith("classes") else labels,
        )
    for word, file in (
        ("OTHER", tmp_path / "other.npz"),
        ("SAME", tmp_path / "shapes.npz"),
        ("WEIGHTS", first / "weights.safetensors"),
    ):
        setting = setting.replace(word, str(file))
    if setting.startswith("classes"):
        # Another head on the same trunk: the features are the same, and are not made anew.
        session_of = find_job(tmp_path / "small.net", "cached", settings=[setting])
        assert session_of.network.parameters["classes"] == 4
        return
    if setting.startswith("weights"):
        weights = read(first / "weights.safetensors")
        weights["conv1.weight"] = weights["conv1.weight"] * np.float32(1.0001)
        from netdsl.weights.files import write as save

        save(tmp_path / "changed.safetensors", weights)
        setting = f'weights="{tmp_path / "changed.safetensors"}"'
    _, notes = train(tmp_path, "cache features", setting, store=store)
    assert computed(notes)
    assert len(list(store.iterdir())) == 2


def test_a_changed_preprocess_makes_others(tmp_path: Path) -> None:
    store = tmp_path / "kept"
    train(tmp_path, "cache features", store=store)
    text = SPEC.replace("  conv1:", "  preprocess invert\n  conv1:")
    (tmp_path / "small.net").write_text(text + FROZEN.replace("CACHE", "cache features"))
    notes: list[str] = []
    watcher = Silent()
    watcher.note = notes.append  # type: ignore[method-assign]
    Trainer(tmp_path / "small.net", "cached", run=tmp_path / "run9", backend="numpy", features=store).run(watcher)
    assert computed(notes)


@pytest.mark.parametrize("damage", ["truncated", "missing", "facts", "shape"])
def test_what_is_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    store = tmp_path / "kept"
    first, _ = train(tmp_path, "cache features", store=store)
    (folder,) = store.iterdir()
    file = folder / "training-0.npy"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "missing":
        file.unlink()
    elif damage == "facts":
        facts = json.loads((folder / "facts.json").read_text())
        (folder / "facts.json").write_text(json.dumps(facts | {"views": 7}))
    else:
        np.save(file, np.zeros((3, 3), np.float32))
    again, notes = train(tmp_path, "cache features", store=store)
    assert computed(notes)
    assert (again / "weights.safetensors").read_bytes() == (first / "weights.safetensors").read_bytes()


def test_leftovers_of_a_dead_process_are_removed(tmp_path: Path) -> None:
    store = tmp_path / "kept"
    dead, alive = store / f"{features._mine()}4194303-00", store / f"{features._mine()}1-00"
    dead.mkdir(parents=True)
    alive.mkdir()
    train(tmp_path, "cache features", store=store)
    assert not dead.exists() and alive.exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from netdsl.train.errors import TrainError

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(features, "_reserve", full)
    with pytest.raises(TrainError) as caught:
        train(tmp_path, "cache features", store=tmp_path / "kept")
    assert caught.value.code == "E0978" and "room" in (caught.value.help or "")
    assert list((tmp_path / "kept").iterdir()) == []


def test_the_two_parts_make_the_whole(tmp_path: Path) -> None:
    """prefix then body is the network, in evaluation, on a network with a skip across the cut."""
    import netdsl
    from netdsl.analysis.training import training_plan
    from netdsl.backends.reference import Model

    net = netdsl.loads(
        """network n() { input image: 1x6x6
        a: conv(2, 3x3, padding = 1) -> relu
        b: conv(2, 3x3, padding = 1) -> relu
        c: conv(2, 3x3, padding = 1) -> add(a, x) -> dropout(0.5)
        d: conv(2, 3x3) -> flatten -> e: dense(3) }"""
    ).network
    plan = training_plan(net, ["c.weight", "d.weight", "e.bias"])
    whole = Model(net)
    whole.initialize(1)
    x = np.random.default_rng(0).normal(size=(4, 1, 6, 6)).astype(np.float32)
    expected = whole(x)
    for part in (prefix_of(plan, plan.fixed_frontier), body_of(plan)):
        model = Model(part)
        model.store.bind({name: whole.weights[name] for name in model.store.slots})
        x = model.run(x)[0]  # type: ignore[assignment]
    (found,) = x.values()  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found, expected)
    assert set(prefix_of(plan, plan.fixed_frontier).outputs) == {"1", "a"}, "both are read behind the cut"


# ---------------------------------------------------------------------------------------------------- netdsl features


def test_the_command_writes_what_a_tap_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import netdsl

    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    net = netdsl.load("small.net")
    model = net.compile()
    model.initialize(5)
    model.save("all.safetensors")
    with np.load("shapes.npz") as found:
        images, labels = found["x"], found["y"]
    _, taps = model(images[:, None].astype(np.float32) / np.float32(255), tap="conv2")
    arguments = ["features", "small.net", "--until", "conv2", "--data", "shapes.npz", "--batch", "7"]
    assert cli([*arguments, "-w", "all.safetensors", "-o", "f.npy", "--backend", "reference"]) == 0
    np.testing.assert_allclose(np.load("f.npy"), taps["conv2"], rtol=1e-4, atol=1e-6)
    # The file need not hold what comes behind.
    trunk = {name: array for name, array in model.weights.items() if not name.startswith("fc")}
    np.savez("trunk.npz", **trunk)
    assert cli([*arguments, "-w", "trunk.npz", "-o", "f.npz", "--format", "json"]) == 0
    with np.load("f.npz") as made:
        np.testing.assert_allclose(made["features"], taps["conv2"], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(made["labels"], labels)
        assert made["classes"].tolist() == ["0", "1", "2"]
    assert cli([*arguments[:3], "conv3", *arguments[4:], "--random-weights", "1", "-o", "g.npy"]) == 1
    assert "conv2" in capsys.readouterr().err
    assert cli([*arguments, "--random-weights", "1", "-o", "g.txt"]) == 1
    assert not Path("g.txt").exists() and not Path("g.npy").exists()
