"""Drawings: how long each style takes for ResNet-152 and EfficientNet-B7, folded and with every layer drawn.

    python benchmarks/drawing.py [--rounds 5] [--format text|json]

The styles take turns, each in a process of its own; medians. A style's time is from the network in memory to the text
of the SVG document, after one small drawing that loads what it needs; PNG and PDF are made of the folded SVG. Commands
are whole processes, from the spec to the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from measure import alternating, alternating_walls, machine

from netdsl.draw.styles import STYLES

NETWORKS = ("resnet152", "efficientnet_b7")

STYLE = """
import json, time
import netdsl
from netdsl.draw.options import Options
from netdsl.draw.styles import style
from netdsl.draw.export import pdf, png
draw = style({style!r}).draw
small = draw(netdsl.load("lenet5").network, Options())
png(small)
figures = {{}}
for name in {networks!r}:
    network = netdsl.load(name).network
    for fold, said in ((True, "folded"), (False, "unfolded")):
        start = time.perf_counter()
        document = draw(network, Options(fold=fold, limit=100_000))
        figures[f"{{name}} {{said}}"] = time.perf_counter() - start
        figures[f"{{name}} {{said}} KiB"] = len(document.encode()) / 1024
        if fold:
            for form, make in (("PNG", png), ("PDF", pdf)):
                start = time.perf_counter()
                make(document)
                figures[f"{{name}} {{form}}"] = time.perf_counter() - start
print(json.dumps(figures))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    options = parser.parse_args()
    result = measured(options.rounds)
    print(json.dumps(result, indent=2) if options.format == "json" else as_text(result))


def measured(rounds: int) -> dict[str, object]:
    programs = {name: STYLE.format(style=name, networks=NETWORKS) for name in STYLES}
    styles = alternating(programs, rounds, {})
    with tempfile.TemporaryDirectory() as folder:
        draw = [sys.executable, "-m", "netdsl", "draw"]
        commands = {
            f"{name}, {style}": [*draw, name, "--style", style, "-o", str(Path(folder) / f"{name}-{style}.svg")]
            for name in NETWORKS
            for style in STYLES
        }
        walls = alternating_walls(commands, rounds)
    return {"machine": machine(), "rounds": rounds, "styles": styles, "commands": walls}


def as_text(result: dict[str, object]) -> str:
    styles, commands = result["styles"], result["commands"]
    assert isinstance(styles, dict)
    assert isinstance(commands, dict)
    lines = [f"{result['machine']}; medians of {result['rounds']} rounds in alternating processes", ""]
    lines.append("From the network to the SVG, milliseconds (KiB); PNG and PDF of the folded one:")
    lines.append(f"  {'':<18} {'style':<8} {'folded':>18} {'unfolded':>20} {'PNG':>8} {'PDF':>8}")
    for name in NETWORKS:
        for style, figures in styles.items():
            cells = [
                f"{figures[f'{name} {said}'] * 1e3:8.0f} ({figures[f'{name} {said} KiB']:6.0f})"
                for said in ("folded", "unfolded")
            ]
            exports = "".join(f"{figures[f'{name} {form}'] * 1e3:9.0f}" for form in ("PNG", "PDF"))
            lines.append(f"  {name:<18} {style:<8} {cells[0]:>18} {cells[1]:>20}{exports}")
    lines += ["", "`netdsl draw` as a whole process, folded, milliseconds:"]
    lines += [f"  {name:<28} {seconds * 1e3:6.0f}" for name, seconds in commands.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
