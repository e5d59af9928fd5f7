"""From the text of a recipe to sources and pipelines, with diagnostics."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.data import AUGMENT, SOURCES, Pipeline, resolve_augment, resolve_data
from netdsl.data.augment.steps import Augmentation, Erase, Mixup, RandomCrop, RandomFlip, Rotate
from netdsl.data.sources import Arrays, Csv, DataSource, Digits, Folder
from netdsl.elaborate.modules import Loader
from netdsl.language import syntax
from netdsl.language.diagnostics import Diagnostic, SpecError
from netdsl.language.source import Source

HEAD = "const n = 32\nfn half(x) = x // 2\n\nnetwork p() {\n  input image: 3x32x32\n  flatten\n  dense(2)\n}\n\nrecipe r for p {\n"


def entry(text: str) -> tuple[syntax.Entry, object]:
    module = Loader().source(Source(f"{HEAD}  {text}\n}}\n", "r.net"), None)
    recipe = next(node for node in module.syntax.declarations if isinstance(node, syntax.Recipe))
    found = recipe.items[0]
    assert isinstance(found, syntax.Entry)
    return found, module


def data(text: str) -> DataSource:
    return resolve_data(*entry(f"data {text}"))


def augment(text: str) -> Pipeline:
    return resolve_augment(*entry(f"augment {text}"))


def wrong(text: str) -> list[Diagnostic]:
    with pytest.raises(SpecError) as caught:
        (data if text.startswith("data ") else augment)(text.partition(" ")[2])
    return caught.value.diagnostics


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('folder("pets")', Folder(path="pets")),
        ('folder("pets", validation = 20%, seed = 7)', Folder(path="pets", validation=0.2, seed=7)),
        ('folder("a", validation = "b", corrupt = skip)', Folder(path="a", validation="b", corrupt="skip")),
        ('csv("l.csv", root = "images", label = "breed")', Csv(path="l.csv", root="images", label="breed")),
        ('arrays("d.npz", layout = nchw, white = 255)', Arrays(path="d.npz", layout="nchw", white=255)),
        ("digits", Digits()),
        ("digits(classes = [0, 1, 2], validation = 1 / 5)", Digits(classes=(0, 1, 2), validation=0.2)),
    ],
)
def test_sources(text: str, expected: DataSource) -> None:
    assert data(text) == expected
    assert data(str(expected)) == expected  # what is printed can be read again


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("random_flip", (RandomFlip(),)),
        ("random_flip -> random_crop(n, padding = half(8))", (RandomFlip(), RandomCrop(size=32, padding=4))),
        ("random_crop(24x32, mode = reflect) -> rotate((-5, 10))", (RandomCrop(size=(24, 32), mode="reflect"), Rotate(degrees=(-5.0, 10.0)))),
        ("erase(0.3, value = noise) -> mixup(0.4)", (Erase(probability=0.3, value="noise"), Mixup(alpha=0.4))),
    ],
)  # fmt: skip
def test_pipelines(text: str, expected: tuple[Augmentation, ...]) -> None:
    assert augment(text) == expected
    assert augment(str(augment(text))) == expected


@pytest.mark.parametrize(
    ("text", "code", "underlined", "message", "help"),
    [
        ("augment random_flop", "E0201", "random_flop", "unknown augmentation `random_flop`", "did you mean `random_flip`?"),
        ("augment random_flip -> blur(3)", "E0201", "blur(3)", "unknown augmentation `blur`", "there are color, cutmix"),
        ("augment random_crop", "E0203", "random_crop", "`random_crop` needs `size`", "random_crop(SIZE)"),
        ("augment random_crop(32, pading = 4)", "E0202", "pading = 4", "no attribute `pading`", "did you mean `padding`?"),
        ("augment random_crop(32, padding = -1)", "E0204", "padding = -1", "is -1, expected greater than or equal to 0", ""),
        ("augment random_crop(32, mode = mirror)", "E0204", "mode = mirror", "is mirror, expected constant or edge", ""),
        ("augment random_crop(32, mode = reflekt)", "E0204", "mode = reflekt", "is reflekt", "did you mean `reflect`?"),
        ("augment rotate(190)", "E0204", "190", "190", "angle"),
        ("augment rotate(30, fill = 0.5, mode = edge)", "E0204", "rotate(30, fill = 0.5, mode = edge)", "`fill` is for the mode constant", ""),
        ("augment scale(1.2, 0.8)", "E0204", "scale(1.2, 0.8)", "should not be above", ""),
        ("augment color", "E0204", "color", "should be above 0", ""),
        ("augment erase(scale = [0.5, 0.1])", "E0204", "erase(scale = [0.5, 0.1])", "the smaller one first", ""),
        ("augment random_resized_crop(32, scale = (0.1, 2))", "E0204", "random_resized_crop(32, scale = (0.1, 2))", "up to 1", ""),
        ("augment mixup -> random_flip", "E0204", "random_flip", "stands behind `mixup`", "at the end"),
        ("augment mixup -> mixup(0.4)", "E0204", "mixup(0.4)", "stands twice", ""),
        ("augment random_crop(32, mode = edge) -> rotate(10, mode = reflect)", "E0204", "rotate(10, mode = reflect)", "border reflect, and `random_crop` before it edge", "one border"),
        ("augment scale(1, 2, fill = 0.5) -> random_flip -> rotate(10, fill = 1)", "E0204", "rotate(10, fill = 1)", "fills with 1", ""),
        ("augment random_flip(m)", "E0201", "m", "unknown name `m`", ""),
        ("data foldr(\"x\")", "E0201", "foldr(\"x\")", "unknown kind of data `foldr`", "did you mean `folder`?"),
        ("data folder", "E0203", "folder", "`folder` needs `path`", "folder(PATH)"),
        ("data folder(\"x\", validation = 120%)", "E0204", "validation = 120%", "expected less than 1", ""),
        ("data folder(\"x\", seed = -1)", "E0204", "seed = -1", "is -1", ""),
        ("data folder(\"x\", corrupt = ignore)", "E0204", "corrupt = ignore", "expected refuse or skip", ""),
        ("data digits(classes = [0, 11])", "E0204", "classes = [0, 11]", "less than or equal to 9", ""),
    ],
)  # fmt: skip
def test_diagnostics(text: str, code: str, underlined: str, message: str, help: str) -> None:
    (found,) = wrong(text)
    assert found.code == code and found.span is not None
    assert found.span.text == underlined
    assert message in found.message, found.message
    assert help in (found.help or ""), found.help


def test_every_finding_is_told_at_once() -> None:
    found = wrong("augment random_flop -> random_crop(32, padding = -1) -> rotate")
    assert [finding.code for finding in found] == ["E0201", "E0204", "E0203"]


def test_borders_may_differ_between_runs() -> None:
    pipeline = augment("random_crop(32, padding = 4, mode = reflect) -> color(0.1) -> rotate(10, fill = 1)")
    assert [run.is_geometric for run in pipeline.runs] == [True, False, True]
    assert [run.border for run in pipeline.runs if run.is_geometric] == [("reflect", 0.0), ("constant", 1.0)]


def test_a_run_takes_the_border_of_any_of_its_steps() -> None:
    (run,) = augment("random_flip -> rotate(10) -> random_crop(8, padding = 2, mode = symmetric)").runs
    assert run.border == ("symmetric", 0.0) and len(run.steps) == 3


def test_sources_and_steps_load_no_array_library() -> None:
    code = "import netdsl.data, sys; print(*sorted({'numpy', 'PIL'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


WORDS = st.sampled_from(
    ["32", "0.5", "-1", '"a"', "none", "true", "reflect", "noise", "[1, 2]", "(0.1, 0.9)", "4x5", "n", "?", "1e400"]
)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["data", "augment"]), st.sampled_from([*SOURCES, *AUGMENT, "relu"]),
    st.lists(st.tuples(st.sampled_from(["", "size = ", "path = ", "mode = ", "scale = ", "degrees = ", "x = "]), WORDS), max_size=4),
)  # fmt: skip
def test_whatever_is_written_is_a_model_or_a_diagnostic(name: str, kind: str, arguments: list[tuple[str, str]]) -> None:
    text = f"{kind}({', '.join(key + value for key, value in arguments)})"
    try:
        found = data(text) if name == "data" else augment(text)
    except SpecError as error:
        assert error.diagnostics and all(diagnostic.span is not None for diagnostic in error.diagnostics)
    else:
        assert kind in str(found)
