"""Makes the fixtures about torchvision: `python make_torchvision.py`, where torch and torchvision are installed.

`torchvision_states.json.gz`, for each of the 68 classification networks:
  parameters, macs, buffers   without auxiliary heads; macs (convolution and dense) of one image at the published crop
  parameters_with_auxiliary   with the heads that run in training only
  state                       [key, index into `tensors`] in the order of the state_dict, with auxiliary heads;
                              `tensors` holds [shape, dtype, parameter or buffer], each kind once
  dropout, stochastic_depth   rates, sorted; of the blocks that have a shortcut
  normalization               [layer, eps, momentum, how many], sorted
  preprocess                  resize, crop, interpolation, mean and std of the default weights
  smallest                    smallest image, in pixels, as the weights state it
  other_crops                 macs at other published crops
`torchvision_logits.json`, for some of them: logits in double precision with the weights and the images of
`made_weights.py`, in evaluation mode; and those of auxiliary heads, which are run for this by themselves.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import peer

HERE = Path(__file__).parent

FAMILIES = (
    "alexnet", "convnext", "densenet", "efficientnet", "googlenet", "inception", "mnasnet", "mobilenet", "regnet",
    "resnet", "resnext", "shufflenet", "squeezenet", "vgg", "wide_resnet",
)  # fmt: skip

# Name, height and width of the images (odd, so that roundings show), gain of the weights (so that the images matter).
LOGITS = (
    ("convnext_tiny", 75, 64, 1.2),
    ("densenet121", 75, 64, 1.4),
    ("efficientnet_b1", 81, 66, 1.4),
    ("efficientnet_b6", 81, 66, 1.35),
    ("efficientnet_v2_s", 81, 66, 1.2),
    ("googlenet", 81, 66, 1.4),
    ("inception_v3", 107, 96, 1.4),
    ("mnasnet0_5", 81, 66, 1.2),
    ("mobilenet_v3_large", 81, 66, 1.2),
    ("mobilenet_v3_small", 81, 66, 1.35),
    ("regnet_x_400mf", 81, 66, 1.2),
    ("regnet_y_400mf", 81, 66, 1.2),
    ("resnext50_32x4d", 81, 66, 1.2),
    ("shufflenet_v2_x1_0", 81, 66, 1.5),
    ("squeezenet1_0", 100, 81, 1.4),
    ("squeezenet1_1", 100, 81, 1.4),
)

# Head, the module whose output it reads, network, height and width of the images, gain of the weights.
HEADS = (
    ("aux1", "inception4a", "googlenet", 81, 66, 1.4),
    ("aux2", "inception4d", "googlenet", 81, 66, 1.4),
    ("AuxLogits", "Mixed_6e", "inception_v3", 299, 299, 1.4),
)


def names() -> list[str]:
    _, torchvision = peer.modules()
    listed = torchvision.models.list_models(module=torchvision.models)
    return [name for name in listed if name.startswith(FAMILIES)]


def facts(name: str, tensors: list[Any], places: dict[Any, int]) -> dict[str, Any]:
    torch, torchvision = peer.modules()
    with torch.device("meta"):
        network = build_on_meta(name)
    parameters = {key for key, _ in network.named_parameters()}
    heads = ("aux1.", "aux2.", "AuxLogits.")
    state = []
    for key, value in network.state_dict().items():
        role = "parameter" if key in parameters else "buffer"
        tensor = (tuple(value.shape), str(value.dtype).removeprefix("torch."), role)
        if tensor not in places:
            places[tensor] = len(tensors)
            tensors.append(tensor)
        state.append((key, places[tensor]))
    main = [(key, tensors[place]) for key, place in state if not key.startswith(heads)]
    weights = torchvision.models.get_model_weights(name)
    transform = weights.DEFAULT.transforms()
    crop = transform.crop_size[0]
    crops = {entry.transforms().crop_size[0] for entry in weights}
    modules = list(network.modules())
    return {
        "parameters": sum(product(shape) for _, (shape, _, role) in main if role == "parameter"),
        "parameters_with_auxiliary": sum(value.numel() for value in network.parameters()),
        "buffers": sum(role == "buffer" for _, (_, _, role) in main),
        "macs": macs(network, crop),
        "crop": crop,
        "other_crops": [{"crop": other, "macs": macs(network, other)} for other in sorted(crops - {crop})],
        "smallest": weights.DEFAULT.meta["min_size"][0],
        "preprocess": {
            "resize": transform.resize_size[0],
            "crop": crop,
            "interpolation": transform.interpolation.value,
            "mean": list(transform.mean),
            "std": list(transform.std),
        },
        "dropout": sorted(module.p for module in modules if isinstance(module, torch.nn.Dropout)),
        "stochastic_depth": sorted(
            module.stochastic_depth.p
            for module in modules
            if hasattr(module, "stochastic_depth") and getattr(module, "use_res_connect", True)
        ),
        "normalization": sorted(
            [*kind, count]
            for kind, count in Counter(normalization(torch, module) for module in modules).items()
            if kind
        ),
        "state": state,
    }


def build_on_meta(name: str) -> Any:
    """A network without storage. RegNet computes its widths with tensors, so these stay on the processor."""
    torch, torchvision = peer.modules()
    rule = torchvision.models.regnet.BlockParams
    original = rule.__dict__["from_init_params"]

    def on_processor(cls: Any, **settings: Any) -> Any:
        with torch.device("cpu"):
            return original.__func__(cls, **settings)

    rule.from_init_params = classmethod(on_processor)
    try:
        return peer.build(name)
    finally:
        rule.from_init_params = original


def normalization(torch: Any, module: Any) -> tuple[Any, ...]:
    if isinstance(module, torch.nn.BatchNorm2d):
        return ("batch_norm", module.eps, module.momentum)
    if isinstance(module, torch.nn.LayerNorm):
        return ("layer_norm", module.eps, None)
    return ()


def macs(network: Any, size: int) -> int:
    """Multiply-accumulates of convolutions and dense layers for one image, counted while it runs without storage."""
    torch, _ = peer.modules()
    total = 0

    def count(module: Any, inputs: Any, output: Any) -> None:
        nonlocal total
        reads = module.weight.shape[1:].numel()
        total += output.numel() * reads

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, kinds)]
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size, device="meta"))
    for hook in hooks:
        hook.remove()
    return total


def product(shape: tuple[int, ...]) -> int:
    result = 1
    for extent in shape:
        result *= extent
    return result


def logits() -> dict[str, Any]:
    found = {}
    for name, height, width, gain in LOGITS:
        _, values = peer.run(name, height, width, gain)
        found[name] = entry(values, height, width, gain)
    for head, source, name, height, width, gain in HEADS:
        _, values = peer.run(name, height, width, gain, head=head, source=source)
        found[f"{name}.{head}"] = entry(values, height, width, gain)
    return found


def entry(values: Any, height: int, width: int, gain: float) -> dict[str, Any]:
    print("images differ by", abs(values[0] - values[1]).max() / values.std(), "deviations")
    return {
        "size": [height, width],
        "gain": gain,
        "std": float(values.std()),
        "logits": [[float(f"{value:.10g}") for value in image[:50]] for image in values],
    }


def main() -> None:
    tensors: list[Any] = []
    places: dict[Any, int] = {}
    networks = {name: facts(name, tensors, places) for name in names()}
    text = json.dumps({"source": "torchvision 0.28", "tensors": tensors, "networks": networks}, separators=(",", ":"))
    (HERE / "torchvision_states.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    (HERE / "torchvision_logits.json").write_text(json.dumps(logits(), indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
