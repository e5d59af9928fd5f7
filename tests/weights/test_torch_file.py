"""PyTorch's files, read without it: what PyTorch has written (`fixtures/`, made by make_fixtures.py), and attacks."""

from __future__ import annotations

import os
import pickle
import random
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netdsl.weights import Limits, WeightError, open_archive, read, write
from netdsl.weights.torch_writer import pickled

FIXTURES = Path(__file__).parent / "fixtures"
GOOD = sorted(
    path for path in FIXTURES.iterdir() if path.stem not in ("whole_model", "torchscript", "quantized", "float8")
)


def eighths(*shape: int, first: int = 0) -> np.ndarray:
    count = int(np.prod(shape))
    return (np.arange(first, first + count) / 8).astype(np.float32).reshape(shape)


STATE: dict[str, np.ndarray] = {
    "conv.weight": eighths(4, 2, 3, 3), "bn.weight": eighths(4, first=1), "bn.bias": eighths(4, first=2),
    "bn.running_mean": eighths(4, first=3), "bn.running_var": eighths(4, first=4),
    "bn.num_batches_tracked": np.array(7), "fc.weight": eighths(3, 4, first=6), "fc.bias": eighths(3, first=7),
}  # fmt: skip
"""What make_fixtures.py put into the network, computed again."""


def refused(path: Path, code: str, *words: str, limits: Limits | None = None) -> WeightError:
    with pytest.raises(WeightError) as caught:
        read(path, limits)
    text = str(caught.value)
    assert caught.value.code == code, text
    for word in (*words, path.name):
        assert word in text, text
    return caught.value


# ------------------------------------------------------------------------------------------------- what PyTorch writes


@pytest.mark.parametrize(
    "name",
    ["state.pth", "state_before_1_6.pth", "state_protocol_4.pth", "state_without_check_sums.pth", "checkpoint.pth",
     "checkpoint_before_1_6.pth.tar"],
)  # fmt: skip
def test_a_state_dict(name: str) -> None:
    found = read(FIXTURES / name)
    assert list(found) == list(STATE)
    for key, array in STATE.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape, key
        np.testing.assert_array_equal(found[key], array)


def test_a_checkpoint_says_where_its_weights_lay() -> None:
    assert open_archive(FIXTURES / "checkpoint.pth").notes == ("the weights lie under `model`",)
    assert open_archive(FIXTURES / "state.pth").notes == ()


def test_types() -> None:
    archive = open_archive(FIXTURES / "kinds.pth")
    values = np.arange(6).reshape(2, 3)
    for name, stored in archive.arrays.items():
        if name in ("scalar", "empty", "bool"):
            continue
        assert stored.dtype == name
        found = stored.read()
        assert found.dtype == (np.float32 if name == "bfloat16" else np.dtype(name))
        np.testing.assert_array_equal(found, values / 8 if "float" in name else values)
    assert read(FIXTURES / "kinds.pth")["bool"].tolist() == [True, False, True]
    assert archive.arrays["scalar"].read().shape == () and archive.arrays["scalar"].read() == 2.5
    assert archive.arrays["empty"].read().shape == (0, 3)
    assert len(archive.arrays) == 13


@pytest.mark.parametrize("name", ["views.pth", "views_before_1_6.pth"])
def test_views_of_shared_storages(name: str) -> None:
    found = read(FIXTURES / name)
    base = eighths(4, 6)
    expected = {
        "base": base, "transposed": base.T, "row": base[2], "corner": base[1:3, 2:5], "every_second": base[:, ::2],
        "parameter": eighths(2, 2), "attributed": eighths(2), "buffer": eighths(2), "channels_last": eighths(2, 3, 2, 2),
    }  # fmt: skip
    if name == "views.pth":
        expected["expanded"] = np.repeat(eighths(3)[:, None], 5, axis=1)
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)
    assert np.shares_memory(found["base"], found["corner"])


def test_big_endian(tmp_path: Path) -> None:
    """The same file as a big-endian machine writes it: the bytes of each number turned around."""
    path = tmp_path / "big.pth"
    with zipfile.ZipFile(FIXTURES / "state.pth") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                width = 8 if len(data) == 8 else 4
                data = np.frombuffer(data, f"<u{width}").byteswap().tobytes()
            new.writestr(name, data)
    found = read(path)
    for key, array in STATE.items():
        np.testing.assert_array_equal(found[key], array)


def test_float32_stays_in_the_file() -> None:
    """No copy: the array is a view of the mapping, and cannot be written."""
    found = read(FIXTURES / "state.pth")["conv.weight"]
    assert not found.flags.owndata and not found.flags.writeable


def test_compressed_members_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "packed.pth"
    with zipfile.ZipFile(FIXTURES / "state.pth") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    np.testing.assert_array_equal(read(path)["fc.weight"], STATE["fc.weight"])


# ---------------------------------------------------------------------------------------------------------- refused


def test_a_whole_model_names_its_class() -> None:
    error = refused(FIXTURES / "whole_model.pth", "E0710", "torch.nn.modules.container.Sequential")
    assert "state_dict" in str(error.help)


def test_torchscript() -> None:
    refused(FIXTURES / "torchscript.pt", "E0702", "TorchScript")


@pytest.mark.parametrize(("name", "key", "word"), [("quantized", "q", "quantized"), ("float8", "f8", "float8_e4m3fn")])
def test_types_that_are_not_read_do_not_hide_the_others(name: str, key: str, word: str) -> None:
    path = FIXTURES / f"{name}.pth"
    refused(path, "E0705", f"`{key}`", word)
    assert open_archive(path).arrays["plain"].read().tolist() == [0, 0.125]


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def zipped(path: Path, data: bytes, storages: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        for key, content in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", b"3\n")
    return path


def before_1_6(path: Path, data: bytes, rest: bytes = pickle.dumps([], 2)) -> Path:
    start = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join([*start, data, rest]))
    return path


def names(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


SYSTEM = names("os", "system")
COMMAND = b"X\x0c\x00\x00\x00touch pwned!"
ATTACKS = {
    "reduce": SYSTEM + b"(" + COMMAND + b"tR.",
    "stack_global": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93" + COMMAND + b"\x85R.",
    "inst": b"(" + COMMAND + b"ios\nsystem\n.",
    "obj": b"(" + SYSTEM + COMMAND + b"o.",
    "newobj": b"\x80\x02" + SYSTEM + COMMAND + b"\x85\x81.",
    "newobj_ex": b"\x80\x04" + SYSTEM + COMMAND + b"\x85}\x92.",
    "ext1": b"\x80\x02\x82\x01.",
    "eval": names("builtins", "eval") + b"X\x05\x00\x00\x001 + 1\x85R.",
    "getattr": names("builtins", "getattr") + b")R.",
    "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x16OrderedDict.__reduce__X\x93.",
    "torch_hub": names("torch.hub", "load") + b")R.",
    "torch_load": names("torch", "load") + b")R.",
    "class_called": names("torch", "FloatStorage") + b")R.",
    "in_a_state": names("collections", "OrderedDict") + b")R}X\x01\x00\x00\x00a" + SYSTEM + COMMAND + b"\x85Rsb.",
    "in_a_storage": b"(X\x07\x00\x00\x00storage" + SYSTEM + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.",
    "next_buffer": b"\x80\x05\x97.",
}


@pytest.fixture
def watched() -> Iterator[list[str]]:
    """What the interpreter has been asked to do that loading must not do."""
    events: list[str] = []
    WATCH.append(events)
    yield events
    WATCH.remove(events)


WATCH: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not WATCH:
        return
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if writes or event in (
        "exec",
        "os.system",
        "subprocess.Popen",
        "pickle.find_class",
        "import",
        "os.exec",
        "compile",
    ):
        WATCH[-1].append(f"{event} {arguments[:1]}")


sys.addaudithook(_audit)


@pytest.mark.parametrize("form", [zipped, before_1_6])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_in_a_pickle_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: list[str], attack: str, form: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    path = form(tmp_path / "evil.pth", ATTACKS[attack])
    watched.clear()
    with pytest.raises(WeightError) as caught:
        open_archive(path)
    assert not watched
    assert caught.value.code in ("E0710", "E0703"), caught.value
    if b"system" in ATTACKS[attack]:
        assert caught.value.code == "E0710" and "os.system" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["evil.pth"]


def test_what_python_would_run_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack works where pickles are trusted, so the test above means something."""
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"weight": Call(os.mkdir, "pwned")})
    refused(zipped(tmp_path / "evil.pth", data), "E0710", "mkdir")
    refused(before_1_6(tmp_path / "evil.pt", data), "E0710", "mkdir")
    assert not (tmp_path / "pwned").exists()
    pickle.loads(data)
    assert (tmp_path / "pwned").exists()


def test_names_from_a_file_cannot_paint_the_terminal(tmp_path: Path) -> None:
    error = refused(zipped(tmp_path / "evil.pth", names("\x1b[2Jos", "system") + b"."), "E0710")
    assert "\x1b" not in str(error)


BOMBS = {
    "long": b"\x8b\xff\xff\xff\x7f" + b"\xff" * 100 + b".",
    "bytes": b"\x8e" + struct.pack("<Q", 10**12) + b"x.",
    "text": b"X\xff\xff\xff\xffx.",
    "negative": b"T\xff\xff\xff\xffx.",
    "decimal": b"I" + b"9" * 4000 + b"\n.",
    "marks": b"(" * 100_000 + b".",
    "memo": b"Nr\xff\xff\xff\xff0h\x01.",
    "unhashable": b"}]Ns.",
    "deep_key": b"})" + b"\x85" * 300_000 + b"Ns.",
    "empty_stack": b".",
    "pop": b"0.",
    "no_end": b"N" * 1000,
    "line": b"c" + b"x" * 100_000 + b"\n",
    "tuple": b"N\x87.",
    "odd": b"}(Nu.",
    "append": b"Na.",
    "unknown": b"\xfe.",
    "surrogates": b"X\x03\x00\x00\x00\xed\xa0\x80.",
}  # fmt: skip


@pytest.mark.parametrize("form", [zipped, before_1_6])
@pytest.mark.parametrize("bomb", BOMBS)
def test_pickles_that_cannot_be_right(tmp_path: Path, bomb: str, form: Any) -> None:
    refused(form(tmp_path / "w.pth", BOMBS[bomb]), "E0703")


def test_deep_nesting_is_harmless(tmp_path: Path) -> None:
    for data in (b")" + b"\x85" * 1_000_000 + b".", b"N" + b"\x85" * 1_000_000 + b"0}X\x01\x00\x00\x00aNs."):
        refused(zipped(tmp_path / "w.pth", data), "E0703")


def test_limits_of_the_pickle(tmp_path: Path) -> None:
    path = zipped(tmp_path / "w.pth", b"N0" * 600 + b"}.")
    assert read(path) == {}
    refused(path, "E0704", "steps", "pickle_steps=", limits=Limits(pickle_steps=1000))
    refused(path, "E0704", "bytes", "pickle_bytes=", limits=Limits(pickle_bytes=1000))
    old = before_1_6(tmp_path / "old.pth", b"N0" * 600 + b"}.")
    assert read(old) == {}
    refused(old, "E0704", "bytes", "pickle_bytes=", limits=Limits(pickle_bytes=1000))


def rebuilt(
    shape: tuple[int, ...], strides: tuple[int, ...], first: int = 0, claimed: int = 4, key: str = "0"
) -> bytes:
    """The pickle of {"a": tensor} over a storage of `claimed` numbers."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", value) for value in values) + b"t"

    storage = (
        b"(X\x07\x00\x00\x00storage" + names("torch", "FloatStorage") + b"X\x01\x00\x00\x00" + key.encode()
        + b"X\x04\x00\x00\x00cuda" + b"\x8a\x08" + struct.pack("<q", claimed) + b"tQ"
    )  # fmt: skip
    return (
        b"}X\x01\x00\x00\x00a" + names("torch._utils", "_rebuild_tensor_v2") + b"(" + storage
        + b"\x8a\x08" + struct.pack("<q", first) + numbers(shape) + numbers(strides) + b"\x89}tRs."
    )  # fmt: skip


FOUR = {"0": struct.pack("<4f", 1, 2, 3, 4)}


def test_a_tensor_made_by_hand(tmp_path: Path) -> None:
    path = zipped(tmp_path / "w.pth", rebuilt((2, 2), (1, 2)), FOUR)
    assert read(path)["a"].tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize(
    ("shape", "strides", "first", "claimed", "code"),
    [
        ((5,), (1,), 0, 4, "E0703"), ((2, 2), (3, 2), 0, 4, "E0703"), ((1,), (1,), 4, 4, "E0703"),
        ((-1,), (1,), 0, 4, "E0703"), ((2,), (-1,), 1, 4, "E0703"), ((2,), (1,), -1, 4, "E0703"),
        ((2,), (1, 1), 0, 4, "E0703"), ((4,), (1,), 0, 10**12, "E0703"), ((10**12,), (0,), 0, 4, "E0704"),
        ((2**40, 2**40), (0, 0), 0, 4, "E0703"), ((1,) * 40, (0,) * 40, 0, 4, "E0703"),
        ((2,), (2**61,), 0, 4, "E0703"), ((4,), (1,), 0, -4, "E0703"),
    ],
)  # fmt: skip
def test_tensors_that_reach_out_of_their_storage(
    tmp_path: Path, shape: tuple[int, ...], strides: tuple[int, ...], first: int, claimed: int, code: str
) -> None:
    refused(zipped(tmp_path / "w.pth", rebuilt(shape, strides, first, claimed), FOUR), code)


def test_a_storage_that_is_not_there(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "w.pth", rebuilt((4,), (1,), key="1"), FOUR), "E0703", "`a`", "missing")
    keys = pickle.dumps(["9"], 2)
    refused(before_1_6(tmp_path / "old.pth", rebuilt((4,), (1,)), keys), "E0703")
    terabyte = pickle.dumps(["0"], 2) + struct.pack("<q", 10**12)
    refused(before_1_6(tmp_path / "long.pth", rebuilt((4,), (1,)), terabyte), "E0703", "4_000_000_000_000")


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", rebuilt((10_000_000,), (1,), claimed=10_000_000))
        archive.writestr("archive/data/0", bytes(40_000_000))
    assert path.stat().st_size < 100_000
    refused(path, "E0704", "bytes=", limits=Limits(bytes=1_000_000))


@pytest.mark.parametrize(
    ("value", "code", "word"),
    [
        ({"epoch": 3, "loss": [0.5]}, "E0703", "named tensors"), ([1, 2], "E0703", "named tensors"),
        (None, "E0703", "named tensors"), ("text", "E0703", "named tensors"),
    ],
)  # fmt: skip
def test_files_without_weights(tmp_path: Path, value: object, code: str, word: str) -> None:
    refused(zipped(tmp_path / "w.pth", pickle.dumps(value, 2)), code, word)


def test_several_sets_of_weights_are_not_guessed_at(tmp_path: Path) -> None:
    one = rebuilt((4,), (1,))[:-1]
    both = b"}(X\x01\x00\x00\x00g" + one + b"X\x01\x00\x00\x00d" + one + b"u."
    refused(zipped(tmp_path / "gan.pth", both, FOUR), "E0702", "`g`", "`d`")
    known = b"}(X\x03\x00\x00\x00ema" + one + b"X\x05\x00\x00\x00model" + one + b"u."
    notes = open_archive(zipped(tmp_path / "known.pth", known, FOUR)).notes
    assert notes == ("the weights lie under `model`; not read: `ema`",)


def test_a_tar_file_of_2016(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"storages".ljust(257, b"\0") + b"ustar\0" + bytes(1000))
    refused(path, "E0702", "2017")


def test_a_file_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "E0701", "regular")


# ------------------------------------------------------------------------------------------------------------- damage


def damaged(data: bytes, generator: random.Random) -> bytes:
    """Flipped bits, other bytes, a missing or repeated piece, or a missing end."""
    content = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        place = generator.randrange(len(content))
        match generator.randrange(5):
            case 0 | 1:
                content[place] ^= 1 << generator.randrange(8)
            case 2:
                content[place] = generator.randrange(256)
            case 3:
                del content[place : place + generator.randrange(1, 20)]
            case _:
                content[place:place] = content[place : place + generator.randrange(1, 20)]
    return bytes(content[: generator.randrange(len(content))] if generator.random() < 0.1 else content)


@pytest.mark.parametrize(
    "path", [*GOOD, FIXTURES / "quantized.pth", FIXTURES / "whole_model.pth"], ids=lambda p: p.name
)
def test_damaged_files_give_arrays_or_one_clear_error(path: Path, tmp_path: Path, watched: list[str]) -> None:
    generator = random.Random(path.name)
    data = path.read_bytes()
    broken = tmp_path / path.name
    refusals = 0
    for _ in range(400):
        broken.write_bytes(damaged(data, generator))
        watched.clear()
        try:
            for stored in open_archive(broken).arrays.values():
                assert stored.read().shape == stored.shape
        except WeightError as error:
            refusals += 1
            assert error.code in ("E0701", "E0702", "E0703", "E0704", "E0705", "E0710"), error
            assert broken.name in str(error)
        assert not watched
    assert refusals > 50


def test_damaged_pickles_in_sound_files(tmp_path: Path, watched: list[str]) -> None:
    """Behind a check sum that is right, so that the machine meets the damage."""
    generator = random.Random(7)
    arrays = {"a.weight": eighths(2, 3), "a.bias": eighths(2), "n": np.array(3)}
    data = pickled(arrays)
    storages = {str(key): array.tobytes() for key, array in enumerate(arrays.values())}
    path = tmp_path / "w.pth"
    for _ in range(3000):
        zipped(path, damaged(data, generator), storages)
        watched.clear()
        try:
            for stored in open_archive(path).arrays.values():
                stored.read()
        except WeightError as error:
            assert error.code in ("E0703", "E0704", "E0705", "E0710"), error
        assert not watched


@pytest.mark.parametrize("name", ["state.pth", "state_before_1_6.pth", "checkpoint.pth"])
def test_every_truncation_is_refused(name: str, tmp_path: Path) -> None:
    data = (FIXTURES / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refused(path, "E0703")


def test_a_flipped_bit_in_the_values_is_found(tmp_path: Path) -> None:
    """The zip form has check sums; the form before 1.6 has none."""
    data = bytearray((FIXTURES / "state.pth").read_bytes())
    place = data.index(STATE["conv.weight"].tobytes()) + 100
    data[place] ^= 1
    path = tmp_path / "w.pth"
    path.write_bytes(data)
    refused(path, "E0703", "`conv.weight`", "check sum")


# ------------------------------------------------------------------------------------------------------------ writing


def test_equal_arrays_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        write(tmp_path / name, STATE)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_python_finds_nothing_but_tensors_in_what_we_write() -> None:
    """Python's own unpickler, told of the names that a state_dict needs."""

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return {
                "collections.OrderedDict": OrderedDict, "torch.FloatStorage": "float32", "torch.LongStorage": "int64",
                "torch._utils._rebuild_tensor_v2": lambda *a: a[:4],
            }[f"{module}.{name}"]  # fmt: skip

        def persistent_load(self, pid: Any) -> Any:
            return pid

    import io

    found = Reader(io.BytesIO(pickled(STATE))).load()
    assert list(found) == list(STATE)
    assert found["fc.weight"] == (("storage", "float32", "6", "cpu", 12), 0, (3, 4), (4, 1))
    assert found["bn.num_batches_tracked"] == (("storage", "int64", "5", "cpu", 1), 0, (), ())


def test_storages_begin_at_multiples_of_64_bytes(tmp_path: Path) -> None:
    write(tmp_path / "w.pth", STATE)
    data = (tmp_path / "w.pth").read_bytes()
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        assert archive.testzip() is None
    for name in ("conv.weight", "fc.weight"):
        assert data.rindex(STATE[name].tobytes()) % 64 == 0
    assert read(tmp_path / "w.pth")["conv.weight"].flags.aligned


def test_types_that_pytorch_lacks(tmp_path: Path) -> None:
    with pytest.raises(WeightError) as caught:
        write(tmp_path / "w.pth", {"a": np.zeros(3, np.uint32)})
    assert caught.value.code == "E0705" and "uint32" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.peer
def test_pytorch_reads_what_we_write_and_the_other_way(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    arrays = {
        **STATE,
        "half": eighths(3).astype(np.float16),
        "wide": eighths(3).astype(np.float64),
        "flag": np.array([True]),
    }
    write(tmp_path / "ours.pth", {**arrays, "empty": np.zeros((0, 2), np.float32)})
    for options in ({}, {"mmap": True}):
        found = torch.load(tmp_path / "ours.pth", weights_only=True, **options)
        assert list(found) == [*arrays, "empty"]
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name].numpy(), array)
            assert found[name].numpy().dtype == array.dtype
    for path in (FIXTURES / "views.pth", FIXTURES / "kinds.pth", FIXTURES / "views_before_1_6.pth"):
        here = read(path)
        there = torch.load(path, weights_only=True)
        assert list(here) == list(there)
        for name, value in there.items():
            value = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
            np.testing.assert_array_equal(here[name], value.numpy())
