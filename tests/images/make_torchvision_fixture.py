"""Writes `fixtures/torchvision.npz`: what torchvision's transforms make of small images.

Not a test, and not needed to run the tests. With torch and torchvision installed: python make_torchvision_fixture.py
"""

from pathlib import Path

import numpy as np
import torch

if not hasattr(torch.ops.torchvision, "nms"):  # where torchvision was installed without its compiled operators
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Grayscale, Normalize, Resize, ToTensor
from torchvision.transforms import InterpolationMode as Mode

SIZES = {"wide": (37, 53), "tall": (61, 29), "square": (40, 40), "tiny": (9, 14)}
NORMALIZE = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CHAINS = {
    "resize(24)": [Resize(24)],
    "resize(24, bicubic)": [Resize(24, Mode.BICUBIC)],
    "resize(24, nearest)": [Resize(24, Mode.NEAREST)],
    "resize(17x31)": [Resize((17, 31))],
    "resize(29)": [Resize(29)],
    "center_crop(20)": [CenterCrop(20)],
    "center_crop(21)": [CenterCrop(21)],
    "center_crop(8x13)": [CenterCrop((8, 13))],
    "center_crop(45x46)": [CenterCrop((45, 46))],
    "grayscale": [Grayscale()],
    "grayscale(3)": [Grayscale(3)],
    "resize(24) -> center_crop(21) -> normalize(imagenet)": [Resize(24), CenterCrop(21), NORMALIZE],
}


def smooth(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Blobs with some noise: a picture with edges, not white noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize(
        size[::-1], Image.Resampling.BICUBIC
    )
    noise = rng.integers(-25, 26, (*size, 3))
    return np.clip(np.asarray(coarse).astype(int) + noise, 0, 255).astype(np.uint8)


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        arrays[f"image/{name}"] = smooth(seed, size)
        image = Image.fromarray(arrays[f"image/{name}"])
        for chain, parts in CHAINS.items():
            geometry = [part for part in parts if part is not NORMALIZE]
            rest = [part for part in parts if part is NORMALIZE]
            found = Compose([*geometry, ToTensor(), *rest])(image).numpy()
            # Without normalization the values are bytes / 255: kept as bytes, which is smaller and says the same.
            arrays[f"{name}/{chain}"] = found if rest else np.rint(found * 255).astype(np.uint8)
    np.savez_compressed(Path(__file__).parent / "fixtures" / "torchvision.npz", **arrays)


if __name__ == "__main__":
    main()
