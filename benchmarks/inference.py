"""How fast networks answer on this processor.

    python benchmarks/inference.py [--networks NAME,...] [--batch N] [--threads N,...] [--rounds N] [--seconds S]
                                   [--peer-python PYTHON] [--format text|json]

The native back-end against PyTorch eager (the better of its two memory layouts) and ONNX Runtime. Every engine runs in
a process of its own, in turn with the others; the table has the median time of an answer in milliseconds, and the
peer's time for one of ours. `--peer-python` names a Python with torch, torchvision, onnx and onnxruntime where this one
has not; a peer that is not there is left out. Weights are random: they do not change the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from measure import machine, own_report

NETWORKS = ("lenet5", "resnet50", "vgg16", "mobilenet_v2", "efficientnet_b0")

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

OURS = """
import json, statistics, time
import numpy as np
import netdsl
from netdsl.backends.compiled import CompiledModel
from netdsl.backends.native.backend import BACKEND
{timed}
net = netdsl.load("{network}")
model = CompiledModel(net.network, BACKEND, {threads})
model.initialize(0)
(type_,) = net.inputs.values()
x = np.random.default_rng(0).standard_normal(({batch}, *type_.shape)).astype(np.float32)
print(json.dumps({{"ms": timed(lambda: model(x), {seconds})}}))
"""

MODEL = """
import warnings
warnings.filterwarnings("ignore")
import torch
from torch import nn
def make(name):
    if name == "lenet5":
        return (1, 32, 32), nn.Sequential(
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
    return (3, 224, 224), torchvision.models.get_model(name, weights=None).eval()
"""

EAGER = """
import json, statistics, time
{model}
{timed}
torch.set_num_threads({threads})
shape, model = make("{network}")
x = torch.randn({batch}, *shape)
with torch.inference_mode():
    plain = timed(lambda: model(x), {seconds} / 2)
    model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    last = timed(lambda: model(x), {seconds} / 2)
print(json.dumps({{"ms": min(plain, last)}}))
"""

EXPORT = """
import json
{model}
shape, model = make("{network}")
torch.onnx.export(model, torch.zeros({batch}, *shape), "{path}", dynamo=False, opset_version=17)
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
    words = {
        "network": network, "batch": batch, "threads": threads, "seconds": seconds, "timed": TIMED, "model": MODEL,
        "path": path.as_posix(),
    }  # fmt: skip
    programs = {"netdsl": (OURS, sys.executable), "torch": (EAGER, python), "onnxruntime": (RUNTIME, python)}
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
                times[name].append(own_report(code.format(**words), interpreter)["ms"])
            except RuntimeError as error:
                if name == "netdsl":
                    raise
                print(f"without {name}: {error}", file=sys.stderr)
    return {name: statistics.median(found) for name, found in times.items() if found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for threads in map(int, options.threads.split(",")):
            for network in options.networks.split(","):
                found = measured(
                    network, options.batch, threads, options.rounds, options.seconds, options.peer_python, Path(folder)
                )
                rows.append({"network": network, "batch": options.batch, "threads": threads} | found)
    if options.format == "json":
        print(json.dumps({"machine": machine(), "rows": rows}, indent=2))
        return
    print(f"{machine()}\nmilliseconds an answer; in brackets the peer's time for one of ours\n")
    print(f"{'network':18}{'batch':>6}{'threads':>8}{'netdsl':>10}{'torch':>18}{'onnxruntime':>18}")
    for row in rows:
        peers = "".join(
            f"{row[name]:>10.3f} ({row[name] / row['netdsl']:4.2f}x)" if name in row else f"{'-':>18}"
            for name in ("torch", "onnxruntime")
        )
        print(f"{row['network']:18}{row['batch']:>6}{row['threads']:>8}{row['netdsl']:>10.3f}{peers}")


if __name__ == "__main__":
    main()
