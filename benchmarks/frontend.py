"""How fast a spec becomes numbers.

    python benchmarks/frontend.py [--rounds N] [--peer-python PYTHON] [--format text|json]

Compares with building torchvision's model and counting with fvcore, each in a process of its own, in turn with ours,
medians; `--peer-python` names a Python that has torch, torchvision and fvcore where this one has not. Without a peer
our own figures are printed alone.
"""

from __future__ import annotations

import argparse
import json
import sys

from measure import alternating, alternating_walls, machine, own_report

REPEATS = 5
"""How often a warm process repeats what it times."""

OURS = """
import json, statistics, time
import netdsl
def once(name):
    start = time.perf_counter()
    net = netdsl.load(name)
    counts = net.parameters, net.macs
    return time.perf_counter() - start
report = {{}}
for name in {names}:
    once(name)
    report[name] = statistics.median(once(name) for _ in range({repeats}))
print(json.dumps(report))
"""

PEER = """
import json, logging, statistics, time, warnings
warnings.filterwarnings("ignore")
import torch
try:
    import torchvision
except RuntimeError:
    # torchvision beside a CPU build of torch: two of its operators are declared by a library that is not there.
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
from fvcore.nn import FlopCountAnalysis
logging.disable(logging.WARNING)
sizes = {sizes}
def once(name):
    start = time.perf_counter()
    model = torchvision.models.get_model(name, weights=None).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    macs = FlopCountAnalysis(model, torch.zeros(1, 3, sizes[name], sizes[name])).total()
    return time.perf_counter() - start
report = {{}}
for name in {names}:
    once(name)
    report[name] = once(name)
print(json.dumps(report))
"""

MANY = """
import json, resource, time
import netdsl
text = {text!r}
start = time.perf_counter()
net = netdsl.loads(text)
counts = net.parameters, net.macs
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}}))
"""

SIZES = {"resnet50": 224, "efficientnet_b7": 600}


def deep(layers: int) -> str:
    return f"network deep {{\n  input 8x32x32\n  repeat {layers} {{ conv(8, 3x3, padding = 1) }}\n}}"


def flat(lines: int) -> str:
    steps = "\n".join(f"  c{i}: conv(8, 3x3, padding = 1, bias = false) -> relu" for i in range(lines))
    return f"network flat {{\n  input 8x32x32\n{steps}\n}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    options = parser.parse_args()
    result = measured(options.rounds, options.peer_python)
    print(json.dumps(result, indent=2) if options.format == "json" else as_text(result))


def measured(rounds: int, peer_python: str) -> dict[str, object]:
    names = list(SIZES)
    programs = {
        "netdsl": OURS.format(names=names, repeats=REPEATS),
        "torchvision + fvcore": PEER.format(names=names, sizes=SIZES),
    }
    pythons = {"torchvision + fvcore": peer_python}
    why_no_peer = None
    try:
        own_report(programs["torchvision + fvcore"], peer_python)
    except RuntimeError as error:
        why_no_peer = str(error)
        del programs["torchvision + fvcore"]
    numbers = alternating(programs, rounds, pythons)
    large = {
        f"{count:,} layers by repeat": own_report(MANY.format(text=deep(count))) for count in (10_000, 100_000)
    } | {"20,000 flat lines": own_report(MANY.format(text=flat(20_000)))}
    command = [sys.executable, "-m", "netdsl"]
    starts = alternating_walls(
        {
            "import numpy": [sys.executable, "-c", "import numpy"],
            "netdsl --help": [*command, "--help"],
            "netdsl check resnet50": [*command, "check", "resnet50"],
        },
        2 * rounds,
    )
    return {
        "machine": machine(),
        "rounds": rounds,
        "no_peer_because": why_no_peer,
        "library_to_numbers": numbers,
        "large": large,
        "starts": starts,
    }


def as_text(result: dict[str, object]) -> str:
    lines = [f"{result['machine']}; medians of {result['rounds']} rounds in alternating processes", ""]
    numbers = result["library_to_numbers"]
    assert isinstance(numbers, dict)
    if result["no_peer_because"]:
        lines.append(f"no peer: {result['no_peer_because']}")
    lines.append("From the library's name to parameters and MACs, in process, warm:")
    for name in SIZES:
        ours = numbers["netdsl"][name]
        line = f"  {name:<18} netdsl {ours * 1e3:8.1f} ms"
        if "torchvision + fvcore" in numbers:
            theirs = numbers["torchvision + fvcore"][name]
            line += f"   torchvision + fvcore {theirs * 1e3:8.1f} ms   ratio {theirs / ours:6.1f}"
        lines.append(line)
    lines += ["", "Large specs, from text to parameters and MACs:"]
    assert isinstance(result["large"], dict)
    for name, figures in result["large"].items():
        lines.append(f"  {name:<26} {figures['seconds']:6.2f} s   peak {figures['GiB']:.2f} GiB")
    lines += ["", "Starts, as whole processes:"]
    starts = result["starts"]
    assert isinstance(starts, dict)
    for name, seconds in starts.items():
        lines.append(f"  {name:<26} {seconds * 1e3:6.0f} ms   {seconds / starts['import numpy']:.2f} x import numpy")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
