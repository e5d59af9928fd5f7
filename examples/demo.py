"""What `make demo` shows: a photograph through an edge detector, LeNet-5, and how it learns to read digits.

    python examples/demo.py [FOLDER]

Prints each command before it runs, so that it can be typed again. Pictures go to FOLDER, `demo-output` if not said.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHOTOGRAPH = ROOT / "examples" / "photograph.jpg"
READER = ROOT / "examples" / "digits.net"
DIGIT = 4
"""Which of the scans that are kept apart is read at the end. Any from 0 to 358 will do."""


def relative(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def run(*arguments: str) -> None:
    """Prints a `netdsl` command and runs it; stops where it fails."""
    _run("netdsl", ["-m", "netdsl"], arguments)


def _run(name: str, call: list[str], arguments: tuple[str, ...]) -> None:
    print(f"$ {name} {shlex.join(arguments)}", flush=True)
    started = time.perf_counter()
    status = subprocess.run([sys.executable, *call, *arguments], check=False).returncode
    if status:
        sys.exit(status)
    print(f"({time.perf_counter() - started:.1f} s)\n", flush=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    edges = folder / "edges.png"
    drawing = folder / "lenet5.svg"
    reader = folder / "reader"
    curves = folder / "curves.png"
    digit = folder / "digit.png"
    if (reader / "run.json").is_file():
        shutil.rmtree(reader)  # of the demo before
    print("A photograph goes through the Sobel filters of specs/course/edges.net.\n")
    run("run", "edges", "--input", relative(PHOTOGRAPH), "--output", relative(edges))
    print("LeNet-5, as it is taught today: its table, and its picture.\n")
    run("summary", "lenet5")
    run("draw", "lenet5", "--output", relative(drawing))
    print("It learns to read 1,438 scans of handwritten digits, and is asked about 359 others. About a minute.\n")
    run("train", relative(READER), "digits", "--run", relative(reader))
    run("plot", relative(reader), "--output", relative(curves))
    print("One of the 359.\n")
    _run("python", [], (relative(ROOT / "examples" / "digit.py"), relative(digit), str(DIGIT)))
    weights = relative(reader / "weights.safetensors")
    run("run", relative(READER), "--weights", weights, "--input", relative(digit), "--top", "3")
    print("Look at")
    print(f"  the photograph         {PHOTOGRAPH}")
    print(f"  its edges              {edges.resolve()}")
    print(f"  LeNet-5                {drawing.resolve()}")
    print(f"  how well it has learnt {curves.resolve()}")
    print(f"  the digit it has read  {digit.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo-output"))
