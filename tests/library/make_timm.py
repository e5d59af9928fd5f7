"""Makes the fixtures about timm: `python make_timm.py`, where torch, torchvision and timm (1.0.31) are installed.

`timm_states.json.gz`: for each network the keys of its state_dict, in order, with their shapes.
`timm_logits.json`, for some of them: the first 100 logits in double precision, with the weights and the image of
`made_weights.py`, in evaluation mode; `std` is the standard deviation of all 1000.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import peer
from made_weights import image, weight

HERE = Path(__file__).parent

NETWORKS = (
    *(f"tf_efficientnet_b{i}" for i in range(8)), *(f"tf_efficientnet_lite{i}" for i in range(5)), "mobilenetv1_100",
    "legacy_seresnet50", "legacy_seresnet101", "legacy_seresnet152", "legacy_xception", "darknet53", "ghostnet_100",
    "repvgg_a0", "inception_v4", "semnasnet_100",
)  # fmt: skip

# Name -> size of the image, gain of the weights (so that activations neither vanish nor explode).
LOGITS = {
    "tf_efficientnet_b0": (96, 1.4),
    "tf_efficientnet_b1": (65, 1.4),
    "tf_efficientnet_lite0": (96, 1.2),
    "mobilenetv1_100": (96, 1.4),
    "legacy_seresnet50": (96, 1.0),
    "legacy_xception": (96, 1.2),
    "darknet53": (64, 1.0),
    "ghostnet_100": (96, 1.2),
    "repvgg_a0": (96, 0.8),
    "inception_v4": (107, 1.1),
    "semnasnet_100": (96, 1.4),
}


def main() -> None:
    torch, _ = peer.modules()
    import timm

    states, logits = {}, {}
    for name in NETWORKS:
        model = timm.create_model(name).eval()
        states[name] = [[key, list(value.shape)] for key, value in model.state_dict().items()]
        if name in LOGITS:
            size, gain = LOGITS[name]
            made = {key: torch.from_numpy(weight(key, tuple(shape), gain)) for key, shape in states[name]}
            model.load_state_dict(made)
            with torch.no_grad():
                y = model.double()(torch.from_numpy(image(1, size, size)).double()).numpy()[0]
            found = [float(f"{value:.7g}") for value in y[:100]]
            logits[name] = {"size": size, "gain": gain, "std": float(y.std()), "logits": found}
    packed = json.dumps(states, separators=(",", ":")).encode()
    (HERE / "timm_states.json.gz").write_bytes(gzip.compress(packed, 9, mtime=0))
    text = json.dumps(logits, separators=(",", ":")).replace("},", "},\n")
    (HERE / "timm_logits.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
