"""Reading image files: every mode, orientation, damage, and sizes that do not fit."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from netdsl.images.errors import ImageError
from netdsl.images.load import decode, find_inputs, load_array, load_input
from netdsl.images.steps import CenterCrop, Grayscale, Normalize, Resize
from netdsl.ir.types import TensorType

RGB = TensorType((3, 4, 6))
GRAY = TensorType((1, 4, 6))
OPEN = TensorType((3, None, None))


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.webp", "A.PNG"])
def test_lossless_formats_come_as_they_were(tmp_path: Path, name: str) -> None:
    pixels = noise(4, 6, 3)
    options = {"lossless": True} if name.endswith("webp") else {}
    path = save(tmp_path / name, Image.fromarray(pixels), **options)
    found = load_input(path, RGB)
    assert found.shape == (1, 3, 4, 6) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], pixels.transpose(2, 0, 1) / 255, rtol=1e-6)


def test_jpeg_comes_close(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", Image.new("RGB", (6, 4), (200, 100, 50)), quality=95)
    np.testing.assert_allclose(load_input(path, RGB)[0, :, 2, 3], np.array([200, 100, 50]) / 255, atol=3 / 255)


def one(path: Path, *, gray: bool = False) -> list[int]:
    """The bytes of the first pixel."""
    pixel = load_input(path, TensorType((1 if gray else 3, None, None)))[0, :, 0, 0]
    return [round(float(value) * 255) for value in pixel]


def test_modes(tmp_path: Path) -> None:
    size = (2, 2)
    cases = {
        "L": (Image.new("L", size, 77), [77] * 3, 77),
        "1": (Image.new("1", size, 1), [255] * 3, 255),
        "RGB": (Image.new("RGB", size, (255, 0, 0)), [255, 0, 0], 76),
        # Half transparent black over white is the middle; fully transparent is white, whatever lies beneath.
        "RGBA": (Image.new("RGBA", size, (0, 0, 0, 128)), [127] * 3, 127),
        "RGBA-clear": (Image.new("RGBA", size, (255, 0, 0, 0)), [255] * 3, 255),
        "LA": (Image.new("LA", size, (0, 0)), [255] * 3, 255),
        "P": (Image.new("RGB", size, (10, 20, 30)).quantize(4), [10, 20, 30], 18),
    }
    for name, (image, color, luma) in cases.items():
        path = save(tmp_path / f"{name}.png", image)
        assert one(path) == color, name
        assert one(path, gray=True) == [luma], name


def test_transparent_palettes_and_colors(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 200, 0, 0])
    assert one(save(tmp_path / "p.png", palette, transparency=1)) == [255] * 3
    assert one(save(tmp_path / "p.gif", palette, transparency=1)) == [255] * 3
    assert one(save(tmp_path / "rgb.png", Image.new("RGB", (2, 2), (1, 2, 3)), transparency=(1, 2, 3))) == [255] * 3
    assert one(save(tmp_path / "other.png", Image.new("RGB", (2, 2), (9, 2, 3)), transparency=(1, 2, 3))) == [9, 2, 3]


def test_cmyk(tmp_path: Path) -> None:
    assert one(save(tmp_path / "c.tif", Image.new("CMYK", (2, 2), (0, 0, 0, 0)))) == [255] * 3
    assert one(save(tmp_path / "k.tif", Image.new("CMYK", (2, 2), (0, 0, 0, 255)))) == [0] * 3
    assert one(save(tmp_path / "y.tif", Image.new("CMYK", (2, 2), (255, 0, 0, 0)))) == [0, 255, 255]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_keep_their_digits(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 1, 32768, 65535]], np.uint16)
    path = save(tmp_path / name, Image.fromarray(values))
    found = load_input(path, TensorType((1, 1, 4)))
    np.testing.assert_allclose(found[0, 0], values / 65535, rtol=1e-6)
    three = load_input(path, TensorType((3, 1, 4)))
    np.testing.assert_array_equal(three[0], np.repeat(found[0], 3, axis=0))


def test_sixteen_bits_go_through_the_steps(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(np.full((8, 12), 6_553, np.uint16)))
    found = load_input(path, GRAY, [Resize(size=4), Normalize(mean=0.1)])
    np.testing.assert_allclose(found, 6_553 / 65_535 - 0.1, atol=1e-7)


def test_floating_point_images(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.array([[0.25, 1.0]], np.float32)))
    assert load_input(path, TensorType((1, 1, 2))).ravel().tolist() == [0.25, 1]
    for bad in (-0.5, 1.5, np.nan):
        path = save(tmp_path / "b.tif", Image.fromarray(np.array([[bad, 1.0]], np.float32)))
        refused(path, "E0722", "beyond black", ".npy")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_orientation(tmp_path: Path, orientation: int, deep: bool) -> None:
    """Exif 2.32: where the 0th row and the 0th column of the stored image lie when it is seen upright."""
    upright = np.array([[10, 20, 30], [40, 50, 60]], np.uint16 if deep else np.uint8) * (1000 if deep else 1)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],  # 0th row on the right, 0th column on top
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    found = load_input(path, TensorType((1, 2, 3)))
    np.testing.assert_allclose(found[0, 0], upright / (65535 if deep else 255), rtol=1e-6)


def test_metadata_of_nonsense_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (6, 4)).save(path, exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff")
    assert load_input(path, GRAY).shape == (1, 1, 4, 6)


def test_only_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), color) for color in ((255, 0, 0), (0, 255, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert one(tmp_path / "a.gif") == [255, 0, 0]


# ------------------------------------------------------------------------------------------------------ size and steps


def refused(path: Path, code: str, *words: str, type_: TensorType = OPEN, **options: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        load_input(path, type_, **options)
    assert caught.value.code == code, str(caught.value)
    for word in (path.name, *words):
        assert word in str(caught.value), str(caught.value)
    return caught.value


def test_the_exact_size_is_wanted_without_preprocess(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (640, 480)))
    refused(
        path, "E0724", "480x640 pixels", "3x224x224", "preprocess resize(256) -> center_crop(224)",
        type_=TensorType((3, 224, 224)),
    )  # fmt: skip
    refused(path, "E0724", "480x640 pixels", "1x480x641", "preprocess", type_=TensorType((1, 480, 641)))
    refused(path, "E0724", "preprocess resize(32) -> center_crop(32)", type_=TensorType((1, 32, 32)))
    refused(path, "E0724", "preprocess resize(240x320)", type_=TensorType((3, 240, 320)))
    assert load_input(path, TensorType((3, 480, 640))).shape == (1, 3, 480, 640)
    assert load_input(path, OPEN).shape == (1, 3, 480, 640)
    assert load_input(path, TensorType((3, None, 640))).shape == (1, 3, 480, 640)


def test_the_suggestion_fits(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (640, 480)))
    steps = [Resize(size=256), CenterCrop(size=224)]
    assert load_input(path, TensorType((3, 224, 224)), steps).shape == (1, 3, 224, 224)


def test_steps_that_end_in_another_size(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (64, 48)))
    steps = [Resize(size=32), CenterCrop(size=28)]
    refused(
        path, "E0724", "3x28x28 after `preprocess resize(32) -> center_crop(28)`", "3x24x24",
        type_=TensorType((3, 24, 24)), steps=steps,
    )  # fmt: skip


def test_steps_that_end_in_other_channels(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (6, 4)))
    refused(path, "E0724", "1x4x6", "3x4x6", type_=RGB, steps=[Grayscale()])


def test_a_step_that_does_not_fit_names_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (6, 4)))
    refused(path, "E0725", "normalize(imagenet)", type_=GRAY, steps=[Normalize(statistics="imagenet")])


@pytest.mark.parametrize("shape", [(10,), (13, 4, 6), (2, 4, 4, 4)])
def test_networks_that_read_no_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (6, 4)))
    refused(path, "E0724", str(TensorType(shape)), ".npy", type_=TensorType(shape))


# ------------------------------------------------------------------------------------------------------------- damage


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    refused(tmp_path / "no.png", "E0721", "no such file")
    (tmp_path / "dir.png").mkdir()
    refused(tmp_path / "dir.png", "E0721", "folder")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "E0722")


def test_formats_that_start_programs_are_not_read(tmp_path: Path) -> None:
    """Pillow hands EPS to Ghostscript."""
    path = save(tmp_path / "a.eps", Image.new("RGB", (6, 4)))
    refused(path, "E0722", "PNG")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_truncated(tmp_path: Path, format: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(64, 64, 3)).save(buffer, format)
    path = tmp_path / "a.img"
    for keep in (0.02, 0.3, 0.8):
        path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * keep)])
        refused(path, "E0722")


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("width", [11_000, 100_000, 2_000_000_000])
def test_decompression_bombs(tmp_path: Path, width: int) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_that_claims(width, 10_000))
    refused(path, "E0723")


def test_the_limit_on_pixels_can_be_set(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("RGB", (6, 4)))
    refused(path, "E0723", "6 x 4", "23", max_pixels=23)
    assert load_input(path, RGB, max_pixels=24).shape == (1, 3, 4, 6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), format=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
def test_any_damage_gives_pixels_or_one_clear_error(tmp_path: Path, data: st.DataObject, format: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(9, 7, 3)).save(buffer, format)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.img"
    path.write_bytes(content)
    try:
        found = load_input(path, OPEN, max_pixels=1_000_000)
    except ImageError as error:
        assert path.name in str(error)
    else:
        assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1


# ------------------------------------------------------------------------------------------------------------- arrays


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(load_input(tmp_path / "a.npy", RGB, [Resize(size=2)]), array)
    np.save(tmp_path / "one.npy", array[0])
    np.testing.assert_array_equal(load_input(tmp_path / "one.npy", RGB), array[:1])
    np.save(tmp_path / "v.npy", array[0, 0, 0])
    assert load_input(tmp_path / "v.npy", TensorType((6,))).shape == (1, 6)


def test_damaged_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for content in (
        b"",
        b"hello there, no array",
        b"\x93NUMPY\x01\x00\xff\xff" + b"[" * 70_000,
        b"\x93NUMPY\x09\x00v\x00",
    ):
        path.write_bytes(content)
        refused(path, "E0726")
    np.save(path, np.zeros(1000, np.float32))
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, "E0726", "4_000 bytes, 3_999")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    refused(path, "E0726", "4_000_000_000_000")
    np.save(path, np.array([{}]), allow_pickle=True)
    refused(path, "E0726", "unpickle")
    np.save(path, np.zeros(1000, np.float32))
    with pytest.raises(ImageError) as caught:
        load_array(path, max_bytes=100)
    assert caught.value.code == "E0723"


# ------------------------------------------------------------------------------------------------------------ folders


def test_a_folder_gives_its_images_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt", "c.npy", ".hidden"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.png").mkdir()
    (tmp_path / "sub.png" / "d.png").write_bytes(b"x")
    assert [path.name for path in find_inputs([tmp_path])] == ["a.JPG", "b.png", "c.npy"]
    assert find_inputs(["x.png", tmp_path / "sub.png"]) == [Path("x.png"), tmp_path / "sub.png" / "d.png"]


def test_a_folder_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"x")
    with pytest.raises(ImageError) as caught:
        find_inputs([tmp_path])
    assert caught.value.code == "E0721" and ".png" in str(caught.value)


def test_decode_keeps_bytes_for_the_steps(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(noise(4, 6, 3)))
    picture = decode(path)
    assert isinstance(picture, Image.Image) and picture.mode == "RGB"
    gray = decode(path, gray=True)
    assert isinstance(gray, Image.Image) and gray.mode == "L"
