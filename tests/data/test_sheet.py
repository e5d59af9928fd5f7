"""Contact sheets, and the command that draws them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from netdsl.cli.main import cli, run
from netdsl.data.augment import Pipeline
from netdsl.data.augment.sheet import contact_sheet, save_sheet, views_of
from netdsl.data.augment.steps import Color, RandomFlip, Rotate
from netdsl.data.dataset import ArrayDataset
from netdsl.data.inputs import Inputs
from netdsl.images.steps import CenterCrop, Normalize, Resize

STEPS = (Resize(size=40), CenterCrop(size=32), Normalize(statistics="imagenet"))
PIPELINE = Pipeline((RandomFlip(), Rotate(degrees=30), Color(brightness=0.3, hue=0.1)))

RECIPE = """
network pets_net(classes = 3) {
  input image: 3x32x32
  preprocess resize(40) -> center_crop(32) -> normalize(imagenet)
  conv1: conv(4, 3x3) -> relu
  global_avg_pool -> flatten
  fc: dense(classes)
}

recipe pets for pets_net {
  data      folder("pets", validation = 20%)
  optimizer sgd(lr = 0.1)
  seed      5
  phase plain  { epochs 1 }
  phase varied { epochs 2; augment random_flip -> rotate(20) -> mixup }
  phase wild   { epochs 2; augment random_resized_crop(32) }
}
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    values = np.zeros((60, 80, 3), np.uint8)
    values[:30, :, 0], values[30:, :40, 1], values[30:, 40:, 2] = 255, 255, 255
    Image.fromarray(values).save(tmp_path / "photo.png")
    (tmp_path / "pets.net").write_text(RECIPE)
    return tmp_path / "photo.png"


def test_views_are_what_a_training_reads(photo: Path) -> None:
    """View n shows what `Inputs` makes of the first image of the data in epoch n, before it is normalized."""
    values = np.asarray(Image.open(photo))
    inputs = Inputs(ArrayDataset(values[None], np.zeros(1, np.int64), "ab"), (3, 32, 32), STEPS, PIPELINE)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    original, *views = views_of(photo, PIPELINE, STEPS, count=3, seed=8)
    assert (np.rint(original.pixels * 255) == values.transpose(2, 0, 1)).all() and original.caption == "original, 80x60"
    for epoch, view in enumerate(views):
        made = inputs.make(np.zeros(1, np.int64), 8, epoch)[0][0]
        np.testing.assert_allclose(made * std[:, None, None] + mean[:, None, None], view.pixels, atol=1e-5)
        assert view.caption == f"epoch {epoch}"


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (32, 90), (400, 300)])
def test_sheets_of_any_number_and_size(photo: Path, count: int, size: tuple[int, int]) -> None:
    views = views_of(photo, Pipeline((RandomFlip(),)), (Resize(size=size),), count=count)
    sheet = contact_sheet(views, "a long title " * 20, "below it")
    assert sheet.mode == "RGB" and sheet.width < 12_000 and sheet.height < 12_000
    assert sheet.getpixel((0, 0)) == sheet.getpixel((sheet.width - 1, sheet.height - 1)) == (255, 255, 255)


def test_pictures_on_the_sheet_are_the_views(photo: Path) -> None:
    views = views_of(photo, PIPELINE, STEPS, count=2, seed=1)
    sheet = np.asarray(contact_sheet(views, "title"))
    tile = np.rint(views[2].pixels.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0).repeat(3, 0).repeat(3, 1)
    windows = np.lib.stride_tricks.sliding_window_view(sheet[:, :, 0], tile.shape[:2])
    places = np.argwhere((windows[:, :, 0, 0] == tile[0, 0, 0]) & (windows[:, :, -1, -1] == tile[-1, -1, 0]))
    assert any((sheet[y : y + 96, x : x + 96] == tile).all() for y, x in places)


def test_gray_images(photo: Path) -> None:
    views = views_of(photo, Pipeline((Rotate(degrees=20),)), (Resize(size=(8, 8)),), channels=1, count=3)
    assert {view.pixels.shape[0] for view in views} == {1}
    assert contact_sheet(views, "gray").mode == "RGB"


def test_the_suffix_says_the_format(photo: Path, tmp_path: Path) -> None:
    sheet = contact_sheet(views_of(photo, PIPELINE, STEPS, count=1), "x")
    for name, kind in (("a.png", "PNG"), ("b.JPG", "JPEG")):
        save_sheet(tmp_path / name, sheet)
        with Image.open(tmp_path / name) as found:
            assert found.format == kind


# ---------------------------------------------------------------------------------------------------------- command


def augment(photo: Path, *more: str) -> tuple[int, str]:
    arguments = [
        "augment",
        str(photo.with_name("pets.net")),
        "--input",
        str(photo),
        "-o",
        str(photo.with_name("s.png")),
    ]
    result = CliRunner().invoke(cli, [*arguments, *more])
    return result.exit_code, result.output


def test_the_command_draws_the_first_phase_that_augments(photo: Path) -> None:
    code, text = augment(photo, "--views", "5")
    assert code == 0 and "5 views saved to" in text and "random_flip -> rotate(20) -> mixup" in text
    assert "`mixup` mixes the images of a batch and is not shown" in text
    assert Image.open(photo.with_name("s.png")).width > 300


def test_the_same_seed_gives_the_same_sheet(photo: Path) -> None:
    def sheet(*more: str) -> bytes:
        assert augment(photo, *more)[0] == 0
        return Image.open(photo.with_name("s.png")).tobytes()

    assert sheet() == sheet() != sheet("--seed", "6", "--set", "augment=random_flip -> rotate(20)")
    assert sheet("--phase", "wild") != sheet()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--phase", "wilde"], "did you mean `wild`?"),
        (["--phase", "plain"], "the phase `plain` of the recipe `pets` has no `augment`"),
        (["-o", "sheet.gif"], ".png or .jpg"),
        (["-i", "nothing.png"], "there is no such file"),
        (["--set", "augment=lighting -> blur(2)"], "unknown augmentation `blur`"),
    ],
)
def test_errors(photo: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "augment",
        str(photo.with_name("pets.net")),
        "-i",
        str(photo),
        "-o",
        str(photo.with_name("s.png")),
        *more,
    ]
    assert run(arguments) == 1
    assert words in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["augment", str(photo.with_name("pets.net")), "-i", str(photo), "-o", str(photo / "no" / "s.png")]
    assert run(arguments) == 1 and "E0727" in capsys.readouterr().err
