"""How fast networks answer on this processor.

    python benchmarks/inference.py [--networks NAME,...] [--batch N,...] [--threads N,...] [--rounds N] [--seconds S]
                                   [--peer-python PYTHON] [--format text|json] [--save]

The native and the NumPy back-end against PyTorch eager (the better of its two memory layouts) and ONNX Runtime. Every
engine runs in a process of its own, in turn with the others; the table has the median time of an answer in
milliseconds, and in brackets the peer's time for one of ours. Peers run torchvision's own network, exported by PyTorch
for ONNX Runtime. `--peer-python` names a Python with torch, torchvision, onnx and onnxruntime where this one has not;
a peer that is not there is left out. Weights are random, biases and running statistics too: where they are zero, work
can be left out that a trained network has. `--save` keeps the figures in benchmarks/results/inference-MACHINE.json, of
which docs/speed.md is made.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import machine, own_report, slug

import netdsl

NETWORKS = ("lenet5", "resnet50", "vgg16", "mobilenet_v2", "efficientnet_b0")
OURS = ("native", "numpy")
PEERS = ("torch", "onnxruntime")
RESULTS = Path(__file__).resolve().parent / "results"

TIMED = """
def timed(answer, seconds):
    for _ in range(3):
        answer()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        answer()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
"""

OWN = """
import json, statistics, time
import numpy as np
import netdsl
{timed}
net = netdsl.load("{network}")
model = net.compile(backend="{backend}", threads={threads})
model.initialize(0)
rng = np.random.default_rng(0)
model.load({{
    name: array + (0.1 * np.abs(rng.standard_normal(array.shape))).astype(array.dtype)
    if array.ndim == 1 and array.dtype.kind == "f" else array
    for name, array in model.weights.items()
}})
(type_,) = net.inputs.values()
x = rng.standard_normal(({batch}, *type_.shape)).astype(np.float32)
print(json.dumps({{"ms": timed(lambda: model(x), {seconds})}}))
"""

MODEL = """
import warnings
warnings.filterwarnings("ignore")
import torch
from torch import nn
def make(name):
    if name == "lenet5":
        return nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
            nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)).eval()
    try:
        import torchvision
    except RuntimeError:
        # torchvision beside a CPU build of torch: two of its operators are declared by a library that is not there.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    model = torchvision.models.get_model(name, weights=None).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.ndim == 1:
                tensor += 0.1 * torch.randn(tensor.shape).abs()
    return model
"""

EAGER = """
import json, statistics, time
{model}
{timed}
torch.set_num_threads({threads})
model = make("{network}")
x = torch.randn({batch}, *{shape})
with torch.inference_mode():
    plain = timed(lambda: model(x), {seconds} / 2)
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    last = timed(lambda: model(x), {seconds} / 2)
print(json.dumps({{"ms": min(plain, last)}}))
"""

EXPORT = """
import json
{model}
model = make("{network}")
torch.onnx.export(model, torch.zeros({batch}, *{shape}), "{path}", dynamo=False, opset_version=17)
print(json.dumps({{}}))
"""

RUNTIME = """
import json, statistics, time
import numpy as np
import onnxruntime
{timed}
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = {threads}, 1
session = onnxruntime.InferenceSession("{path}", options, providers=["CPUExecutionProvider"])
(entry,) = session.get_inputs()
x = np.random.default_rng(0).standard_normal(entry.shape).astype(np.float32)
print(json.dumps({{"ms": timed(lambda: session.run(None, {{entry.name: x}}), {seconds})}}))
"""


def measured(
    network: str, batch: int, threads: int, rounds: int, seconds: float, python: str, folder: Path
) -> dict[str, float]:
    """Milliseconds by engine."""
    path = folder / f"{network}-{batch}.onnx"
    (type_,) = netdsl.load(network).inputs.values()
    words = {
        "network": network, "shape": type_.shape,
        "batch": batch, "threads": threads, "seconds": seconds, "timed": TIMED, "model": MODEL,
        "path": path.as_posix(),
    }  # fmt: skip
    programs = {name: (OWN.format(backend=name, **words), sys.executable) for name in OURS}
    programs |= {"torch": (EAGER.format(**words), python), "onnxruntime": (RUNTIME.format(**words), python)}
    if not path.is_file():
        try:
            own_report(EXPORT.format(**words), python)
        except RuntimeError as error:
            print(f"without ONNX Runtime: {error}", file=sys.stderr)
            del programs["onnxruntime"]
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, (code, interpreter) in programs.items():
            try:
                times[name].append(own_report(code, interpreter)["ms"])
            except RuntimeError as error:
                if name in OURS:
                    raise
                print(f"without {name}: {error}", file=sys.stderr)
    return {name: statistics.median(found) for name, found in times.items() if found}


def as_text(result: dict[str, object]) -> Iterator[str]:
    """The table, line by line."""
    yield f"{result['machine']}; {result['rounds']} rounds"
    yield "milliseconds an answer; in brackets the peer's time for one of native, of numpy"
    yield ""
    yield "".join([f"{'network':18}{'batch':>6}{'threads':>8}", *(f"{name:>10}" for name in OURS)]) + "".join(
        f"{name:>26}" for name in PEERS
    )
    rows = result["rows"]
    assert isinstance(rows, list)
    for row in rows:
        line = f"{row['network']:18}{row['batch']:>6}{row['threads']:>8}" + "".join(
            f"{row[name]:>10.3f}" for name in OURS
        )
        for peer in PEERS:
            ratios = " ".join(f"{row[peer] / row[name]:5.2f}x" for name in OURS) if peer in row else ""
            line += f"{row[peer]:>10.3f} ({ratios})" if peer in row else f"{'-':>26}"
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batch", default="1")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for batch in map(int, options.batch.split(",")):
            for threads in map(int, options.threads.split(",")):
                for network in options.networks.split(","):
                    found = measured(
                        network, batch, threads, options.rounds, options.seconds, options.peer_python, Path(folder)
                    )
                    rows.append({"network": network, "batch": batch, "threads": threads} | found)
    result: dict[str, object] = {"machine": machine(), "rounds": options.rounds, "rows": rows}
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"inference-{slug()}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"saved in {path}", file=sys.stderr)
    print(json.dumps(result, indent=2) if options.format == "json" else "\n".join(as_text(result)))


if __name__ == "__main__":
    main()
