"""Weights as others publish them: torchvision's by name, other schemes by rules or by position, `transform_input`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import netdsl
from netdsl.images.load import load_input
from netdsl.weights import WeightStore, inventory, read_rules
from netdsl.weights.stored import Stored

ROOT = Path(__file__).resolve().parent.parent.parent
_kept: list[Any] = []


def peers() -> tuple[Any, Any]:
    """torch and torchvision, where they are installed."""
    torch = pytest.importorskip("torch")
    try:
        import torchvision
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:
        # Its compiled operators do not fit this torch. These networks need none: declare the two it names.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
        import torchvision
    return torch, torchvision


def randomized(torch: Any, network: Any) -> Any:
    """A network in evaluation mode whose statistics are not those of a fresh one."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif name.endswith(("running_mean", "bias")):
                value.copy_(0.2 * (torch.rand(value.shape, generator=generator) - 0.5))
            elif value.is_floating_point() and value.dim() > 1:
                bound = 1.4 * (3 / value[0].numel()) ** 0.5
                value.copy_(bound * (2 * torch.rand(value.shape, generator=generator) - 1))
    return network.eval()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_transform_input_changes_no_name(name: str) -> None:
    plain, changed = netdsl.load(name), netdsl.load(name, transform_input=True)
    assert list(inventory(plain.network)) == list(inventory(changed.network))
    assert plain.macs == changed.macs and plain.parameters == changed.parameters


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_both_ways_into_the_network_are_one(name: str, tmp_path: Path) -> None:
    """A photograph normalized for ImageNet and transformed is one with values from -1 to 1."""
    pixels = np.random.default_rng(0).integers(0, 256, (360, 400, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = {}
    for transform in (False, True):
        net = netdsl.load(name, transform_input=transform)
        found[transform] = load_input(str(tmp_path / "a.png"), net.inputs["image"], net.network.preprocess)
        if transform:
            model = net.compile(backend="reference")
            model.initialize(0)
            found[transform] = model(found[transform], tap="transformed")[1]["transformed"]
    assert found[False].min() < -0.8 and found[False].max() > 0.8
    np.testing.assert_allclose(found[True], found[False], atol=1e-5)


@pytest.mark.peer
@pytest.mark.parametrize(("name", "size"), [("googlenet", 64), ("inception_v3", 96)])
def test_transform_input_is_torchvisions(name: str, size: int, tmp_path: Path) -> None:
    torch, torchvision = peers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = getattr(torchvision.models, name)(weights=None, init_weights=False, transform_input=True)
    randomized(torch, network)
    torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    image = np.random.default_rng(1).normal(size=(2, 3, size, size))
    with torch.no_grad():
        expected = network.double()(torch.from_numpy(image)).numpy()
    for transform in (True, False):
        model = netdsl.load(name, transform_input=transform, shape=(3, size, size)).compile(
            "float64", backend="reference"
        )
        assert model.load(tmp_path / f"{name}.pth").fits
        far = np.abs(model(image) - expected).max() / expected.std()
        assert far < 1e-6 if transform else far > 1e-3


@pytest.mark.peer
@pytest.mark.parametrize("legacy", [False, True])
def test_torchvisions_files_load_by_name(legacy: bool, tmp_path: Path) -> None:
    torch, torchvision = peers()
    network = randomized(torch, torchvision.models.resnet18(weights=None))
    path = tmp_path / "resnet18.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    model = netdsl.load("resnet18", shape=(3, 64, 64)).compile("float64", backend="reference")
    report = model.load(path)
    assert len(report.loaded) == 122 and not report.optional
    image = np.random.default_rng(1).normal(size=(2, 3, 64, 64))
    with torch.no_grad():
        expected = network.double()(torch.from_numpy(image)).numpy()
    assert np.abs(model(image) - expected).max() < 1e-10 * expected.std()


@pytest.mark.peer
@pytest.mark.parametrize("way", ["rules", "position"])
def test_timms_efficientnet(way: str, tmp_path: Path) -> None:
    """timm calls everything otherwise; the same numbers come out, by rules as well as by position."""
    torch, _ = peers()
    timm = pytest.importorskip("timm")
    network = randomized(torch, timm.create_model("efficientnet_b0", pretrained=False))
    torch.save(
        {"state_dict_ema": None, "state_dict": network.state_dict(), "arch": "efficientnet_b0"}, tmp_path / "b0.pth.tar"
    )
    model = netdsl.load("efficientnet_b0", shape=(3, 64, 64)).compile("float64", backend="reference")
    options: dict[str, Any] = (
        {"rules": ROOT / "examples/rules/timm-efficientnet.toml"} if way == "rules" else {"by_position": True}
    )
    report = model.load(tmp_path / "b0.pth.tar", **options)
    assert report.fits and len(report.sources) > 300
    image = np.random.default_rng(1).normal(size=(1, 3, 64, 64))
    with torch.no_grad():
        expected = network.double()(torch.from_numpy(image)).numpy()
    assert np.abs(model(image) - expected).max() < 1e-8 * expected.std()


def test_rules_cover_every_size_of_the_family() -> None:
    """The names of tf_efficientnet_b0 to b7 are timm's; the rules turn each into those of efficientnet_b0 to b7."""
    rules = read_rules(ROOT / "examples/rules/timm-efficientnet.toml")
    for size in range(8):
        there = netdsl.load(f"tf_efficientnet_b{size}")
        here = netdsl.load(f"efficientnet_b{size}")
        arrays = {
            name: np.broadcast_to(np.float32(1), slot.weight.shape) for name, slot in inventory(there.network).items()
        }
        store = WeightStore(here.network)

        stored = {name: Stored(array.shape, "float32", array.copy) for name, array in arrays.items()}
        named = store.named(stored, "timm", rules=rules).arrays
        assert {name: array.shape for name, array in named.items()} == {
            name: slot.weight.shape for name, slot in store.slots.items()
        }
