"""Reading and writing `.npz` and `.safetensors`: against NumPy and the safetensors library, and against damage."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from netdsl.atomic import replacing
from netdsl.weights import Limits, WeightError, read, write

ARRAYS = {
    "layer1.0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "bias": np.array([0.5, -1.5], np.float32),
    "steps": np.array(7, np.int64),
    "file": np.ones((0, 2), np.float32),  # savez(**arrays) could not write this name
}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


def refused(path: Path, code: str, *words: str, limits: Limits | None = None) -> WeightError:
    with pytest.raises(WeightError) as caught:
        read(path, limits)
    text = str(caught.value)
    assert caught.value.code == code, text
    for word in (*words, path.name):
        assert word in text, text
    return caught.value


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_what_is_written_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    write(path, ARRAYS)
    same(read(path), ARRAYS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_numpy_reads_what_we_write(tmp_path: Path) -> None:
    write(tmp_path / "w.npz", ARRAYS)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
        same(dict(archive), ARRAYS)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_we_read_what_numpy_writes(tmp_path: Path, save) -> None:
    arrays = {name: array for name, array in ARRAYS.items() if name != "file"}
    save(tmp_path / "w.npz", **arrays)
    same(read(tmp_path / "w.npz"), arrays)


def test_the_safetensors_library_reads_what_we_write_and_the_other_way(tmp_path: Path) -> None:
    write(tmp_path / "ours.safetensors", ARRAYS)
    same(load_file(tmp_path / "ours.safetensors"), ARRAYS)
    save_file(ARRAYS, tmp_path / "theirs.safetensors")
    same(read(tmp_path / "theirs.safetensors"), ARRAYS)


def test_arrays_of_any_memory_layout_are_written_as_they_look(tmp_path: Path) -> None:
    arrays = {"t": np.arange(6, dtype=np.float32).reshape(2, 3).T, "s": np.arange(8, dtype=np.float32)[::2]}
    arrays["big"] = np.arange(3, dtype=">f4")
    for suffix in (".npz", ".safetensors", ".pth"):
        write(tmp_path / f"w{suffix}", arrays)
        found = read(tmp_path / f"w{suffix}")
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)


def test_npz_files_of_equal_arrays_are_equal(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        write(tmp_path / name, ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def safetensors_bytes(header: object, values: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    # Google's bfloat16: sign, 8 bits of exponent, 7 of mantissa. 1.0 = 0x3f80, -2.5 = 0xc020, 3.140625 = 0x4049.
    values = struct.pack("<3H", 0x3F80, 0xC020, 0x4049)
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes({"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}, values))
    found = read(path)["a"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.0, -2.5, 3.140625]


# ------------------------------------------------------------------------------------------------------------ refused


def test_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "resnet50.npz", ARRAYS)
    refused(tmp_path / "resnet5.npz", "E0701", "no such file", "resnet50.npz")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "w.npz").mkdir()
    refused(tmp_path / "w.npz", "E0701", "folder")


@pytest.mark.parametrize(
    ("suffix", "word"),
    [(".h5", "numpy.savez"), (".onnx", "initializer"), (".npy", "numpy.savez"), ("", "suffix")],
)
def test_other_formats_say_how_to_convert(tmp_path: Path, suffix: str, word: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(b"whatever")
    refused(path, "E0702", ".npz", ".safetensors", word)


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x04\x95" * 50], ids=["empty", "PK", "text", "pickle"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_files_that_are_not_what_their_suffix_says(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    refused(path, "E0703")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(tmp_path / "w.npz", bad=np.array([Boom()], dtype=object))
    refused(tmp_path / "w.npz", "E0705", "`bad`", "Python objects")
    (tmp_path / "raw.npz").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "raw.npz", "E0703")


def member(header: bytes, payload: bytes) -> bytes:
    """A .npy file with whatever header text it is told."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + payload


def zipped(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
    return path


def test_an_npy_header_that_claims_a_terabyte(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 250000), }\n"
    refused(zipped(tmp_path / "w.npz", a__npy=member(header, b"\0" * 16)), "E0703", "`a`", "1_000_000_000")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 'x', }\n",
        b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }\n",
        b"[" * 5_000,
        b"{'shape': (" + b"9" * 9_000 + b",)}\n",
        b"{" + b" " * 60_000 + b"}",
    ],
    ids=["negative", "text", "type", "nested", "digits", "long"],
)
def test_npy_headers_of_nonsense(tmp_path: Path, header: bytes) -> None:
    refused(zipped(tmp_path / "w.npz", a__npy=member(header, b"\0\0\0\0")), "E0703", "`a`")


def test_zip_members_that_are_no_arrays(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "w.npz", readme__txt=b"hello"), "E0703", "readme.txt")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(4_000_000, np.float32))
    assert (tmp_path / "w.npz").stat().st_size < 100_000
    limits = Limits(bytes=1_000_000)
    error = refused(tmp_path / "w.npz", "E0704", "1_000_000", "16_000_", limits=limits)
    assert error.help and "bytes=" in error.help
    assert read(tmp_path / "w.npz", Limits(bytes=17_000_000))["a"].shape == (4_000_000,)


def test_too_many_arrays(tmp_path: Path) -> None:
    for suffix in (".npz", ".safetensors", ".pth"):
        write(tmp_path / f"w{suffix}", ARRAYS)
        refused(tmp_path / f"w{suffix}", "E0704", "4 arrays", limits=Limits(tensors=3))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_truncated(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"w{suffix}"
    write(path, {"a": np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    refused(path, "E0703")


def test_a_flipped_bit_in_the_values_of_an_npz_is_found(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    write(path, {"a": np.ones(1000, np.float32)})
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    refused(path, "E0703", "`a`", "CRC")


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [250_000_000_000], "data_offsets": [0, 10**12]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"},
        {"a": {"dtype": "NO", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"a": 1},
        [1, 2],
        "text",
        None,
    ],
    ids=["terabyte", "short", "hole", "negative", "overlap", "type", "no-offsets", "number", "list", "text", "null"],
)  # fmt: skip
def test_safetensors_headers_of_nonsense(tmp_path: Path, header: object) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(header, b"\0" * 8))
    refused(path, "E0703")


def test_a_safetensors_file_that_claims_a_terabyte_of_header(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", 10**12) + b"{}")
    refused(path, "E0703", "1_000_000_000_000", "10 bytes")


def test_a_safetensors_header_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write(path, ARRAYS)
    refused(path, "E0704", "header", limits=Limits(header_bytes=10))


def test_eight_bit_floats_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes({"a": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, b"\0\0"))
    refused(path, "E0705", "`a`", "F8_E4M3")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from([".npz", ".safetensors", ".pth"]))
def test_any_damage_gives_arrays_or_one_clear_error(tmp_path: Path, data: st.DataObject, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    write(path, {"a.weight": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float16)})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read(path)
    except WeightError as error:
        assert path.name in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in found.values())


# ------------------------------------------------------------------------------------------------------------ writing


def test_writing_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightError) as caught:
        write(tmp_path / "no" / "w.npz", ARRAYS)
    assert caught.value.code == "E0709"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_a_failed_write_leaves_the_old_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"w{suffix}"
    write(path, {"a": np.ones(3, np.float32)})

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("netdsl.weights.npz_file.npy.write_array", broken)
    monkeypatch.setattr("netdsl.weights.safetensors_file._parts", broken)
    monkeypatch.setattr("netdsl.weights.torch_writer._add", broken)
    with pytest.raises(WeightError, match="No space left"):
        write(path, {"a": np.zeros(3, np.float32)})
    assert read(path)["a"].tolist() == [1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_unknown_format_to_write(tmp_path: Path) -> None:
    with pytest.raises(WeightError) as caught:
        write(tmp_path / "w.h5", ARRAYS)
    assert caught.value.code == "E0702"
    assert not list(tmp_path.iterdir())


def test_a_file_object_with_version_3_headers(tmp_path: Path) -> None:
    """Version 3 holds names in UTF-8, which only structured arrays need."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ones(2, np.float32), version=(3, 0))
    refused(zipped(tmp_path / "w.npz", a__npy=buffer.getvalue()), "E0703", "version")


def test_replacing_keeps_links_and_old_content(tmp_path: Path) -> None:
    (tmp_path / "real.npz").write_bytes(b"old")
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    write(tmp_path / "link.npz", {"a": np.ones(1, np.float32)})
    assert (tmp_path / "link.npz").is_symlink()
    assert read(tmp_path / "real.npz")["a"].tolist() == [1]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "w.npz") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
