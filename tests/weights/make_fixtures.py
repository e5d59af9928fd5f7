"""Makes the files of `fixtures/`: python tests/weights/make_fixtures.py, where PyTorch is installed.

All hold the weights that `expected` in test_torch_file.py computes, in the many forms that PyTorch has written.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent / "fixtures"


def tensor(*shape: int, first: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """first, first + 1, ... in units of an eighth, which every type of float holds exactly."""
    count = 1
    for extent in shape:
        count *= extent
    return (torch.arange(first, first + count).to(torch.float64) / 8).to(dtype).reshape(shape)


def network() -> torch.nn.Module:
    made = torch.nn.Sequential(
        OrderedDict(conv=torch.nn.Conv2d(2, 4, 3, bias=False), bn=torch.nn.BatchNorm2d(4), fc=torch.nn.Linear(4, 3))
    )
    with torch.no_grad():
        for first, value in enumerate(made.state_dict().values()):
            if value.is_floating_point():
                value.copy_(tensor(*value.shape, first=first))
            else:
                value.fill_(7)
    return made


def kinds() -> dict[str, torch.Tensor]:
    floats = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    whole = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16)
    made = {str(dtype).removeprefix("torch."): tensor(2, 3, dtype=dtype) for dtype in floats}
    made |= {str(dtype).removeprefix("torch."): torch.arange(6).to(dtype).reshape(2, 3) for dtype in whole}
    made["bool"] = torch.tensor([True, False, True])
    made["scalar"] = torch.tensor(2.5)
    made["empty"] = torch.zeros(0, 3)
    return made


def views() -> dict[str, Any]:
    base = tensor(4, 6)
    attributed = tensor(2)
    attributed.note = "kept by PyTorch"  # type: ignore[attr-defined]
    return {
        "base": base, "transposed": base.T, "row": base[2], "corner": base[1:3, 2:5], "every_second": base[:, ::2],
        "expanded": tensor(3)[:, None].expand(3, 5), "parameter": torch.nn.Parameter(tensor(2, 2)),
        "attributed": attributed, "buffer": torch.nn.Buffer(tensor(2)),
        "channels_last": tensor(2, 3, 2, 2).to(memory_format=torch.channels_last),
    }  # fmt: skip


def main() -> None:
    state = network().state_dict()
    old = {"_use_new_zipfile_serialization": False}
    torch.save(state, HERE / "state.pth")
    torch.save(state, HERE / "state_before_1_6.pth", **old)
    torch.save(state, HERE / "state_protocol_4.pth", pickle_protocol=4)
    checkpoint = {
        "epoch": 3, "best": 0.5, "model": state, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}},
        "args": argparse.Namespace(lr=0.1, betas=(0.9, 0.99), name="run"), "shape": torch.Size([1, 2]),
    }  # fmt: skip
    torch.save(checkpoint, HERE / "checkpoint.pth")
    torch.save(checkpoint, HERE / "checkpoint_before_1_6.pth.tar", **old)
    torch.save(kinds(), HERE / "kinds.pth")
    torch.save(views(), HERE / "views.pth")
    torch.save({k: v for k, v in views().items() if k != "expanded"}, HERE / "views_before_1_6.pth", **old)
    torch.save(network(), HERE / "whole_model.pth")
    quantized = torch.quantize_per_tensor(tensor(4), 0.1, 0, torch.quint8)
    torch.save({"q": quantized, "plain": tensor(2)}, HERE / "quantized.pth")
    torch.save({"f8": tensor(4).to(torch.float8_e4m3fn), "plain": tensor(2)}, HERE / "float8.pth")
    torch.jit.save(torch.jit.script(network()), HERE / "torchscript.pt")
    torch.serialization.set_crc32_options(False)
    torch.save(state, HERE / "state_without_check_sums.pth")


if __name__ == "__main__":
    main()
