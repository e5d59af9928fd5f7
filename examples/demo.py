"""What `make demo` shows: a photograph through an edge detector, and the table of a known network.

    python examples/demo.py [FOLDER]

Prints each command before it runs, so that it can be typed again. Pictures go to FOLDER, `demo-output` if not said.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHOTOGRAPH = ROOT / "examples" / "photograph.jpg"


def relative(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def run(*arguments: str) -> None:
    """Prints a `netdsl` command and runs it; stops where it fails."""
    print(f"$ netdsl {shlex.join(arguments)}", flush=True)
    started = time.perf_counter()
    status = subprocess.run([sys.executable, "-m", "netdsl", *arguments], check=False).returncode
    if status:
        sys.exit(status)
    print(f"({time.perf_counter() - started:.1f} s)\n", flush=True)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    edges = folder / "edges.png"
    drawing = folder / "lenet5.svg"
    print("A photograph goes through the Sobel filters of specs/course/edges.net.\n")
    run("run", "edges", "--input", relative(PHOTOGRAPH), "--output", relative(edges))
    print("LeNet-5, as it is taught today: its table, and its picture.\n")
    run("summary", "lenet5")
    run("draw", "lenet5", "--output", relative(drawing))
    print("Look at")
    print(f"  the photograph  {PHOTOGRAPH}")
    print(f"  its edges       {edges.resolve()}")
    print(f"  LeNet-5         {drawing.resolve()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo-output"))
