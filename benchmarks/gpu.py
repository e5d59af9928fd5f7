"""Everything that half an hour on a GPU can give.

    python benchmarks/gpu.py [--part parity|ceilings|inference|training|all] [--device cuda|fake] [--networks NAME,...]
                             [--batch N,...] [--precision NAME,...] [--autotune off|quick|full] [--seconds S]
                             [--limit S] [--peer-python PYTHON] [--no-peers] [--results DIR] [--fresh] [--table]

Parity of a network of each family in every precision with the reference in float64; what the device does at most; our
throughput and latency beside PyTorch (eager with channels last, compiled with max-autotune) and ONNX Runtime, with the
share of the roofline (benchmarks/on_gpu/roofline.py has the formula) and a thousand replays; steps of training, and
whether their losses follow the CPU's. Figures are kept in DIR/gpu-DEVICE.json after each of them: a run that was
interrupted, or stopped by `--limit` seconds (each part by itself), goes on where it was. `--fresh` forgets the figures
of the part, `--table` prints what there is and measures nothing. What was autotuned is kept with them.

`--device fake` plays a device on the CPU, with tiny networks: it shows that the script runs, its figures mean nothing.
Exits with 1 where parity, bits or losses are not as they must be, 3 where figures are left for another run.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from on_gpu import ceilings, inference, parity, table, training
from on_gpu.book import Book, slug
from on_gpu.setup import PRECISIONS, Setup, description, opened

from netdsl.backends.cupy.shelf import Shelf
from netdsl.backends.errors import RunError

PARTS: dict[str, Any] = {
    "ceilings": ceilings.items, "parity": parity.items, "inference": inference.items, "training": training.items,
}  # fmt: skip
RESULTS = Path(__file__).resolve().parent / "results"
LIMIT = 560.0
"""Seconds for a part; a single figure that has begun is finished."""


def arguments(given: list[str] | None) -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return [name for name in text.split(",") if name]

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--device", choices=("cuda", "fake"), default="cuda")
    parser.add_argument("--networks", type=names)
    parser.add_argument("--batch", dest="batches", type=lambda text: [int(number) for number in names(text)])
    parser.add_argument("--precision", dest="precisions", type=names)
    parser.add_argument("--autotune", choices=("off", "quick", "full"), default="quick")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a figure is measured for")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for each part")
    parser.add_argument("--peer-python", help="a Python that has the peers")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(given)
    unknown = [name for name in options.precisions or () if name not in PRECISIONS]
    if unknown:
        parser.error(f"there is no precision {unknown[0]}: {', '.join(PRECISIONS)}")
    return options


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    try:
        engine = opened(options.device)
    except RunError as error:
        print(error.message, file=sys.stderr)
        return 2
    book = Book(options.results / f"gpu-{slug(engine.device.info.name)}.json", say=lambda line: print(line, flush=True))
    setup = Setup(engine, book, options)
    wanted = list(PARTS) if options.part == "all" else [options.part]
    left = 0
    if not options.table:
        book.data["description"] = description(engine)
        for entry in book.data.get("tuned", []):
            Shelf.default().put_back(entry)
        # Shares of the roofline need the ceilings.
        for part in dict.fromkeys(["ceilings", *wanted] if options.part != "parity" else wanted):
            if options.fresh and part in wanted:
                book.data["parts"].pop(part, None)
            book.end = time.monotonic() + options.limit
            left += book.measure(part, PARTS[part](setup))
        book.data["tuned"] = Shelf.default().records()
        book.save()
    print("\n".join(table.lines(book)))
    if left:
        print(f"\n{left} figures are left: run it again")
    return 1 if failed(book) else 3 if left else 0


def failed(book: Book) -> list[str]:
    """What is not as it must be."""
    found = []
    for part in book.data["parts"].values():
        for name, record in part.items():
            if record.get("ok") is False or record.get("other_bits") or "error" in record:
                found.append(name)
    return found


if __name__ == "__main__":
    sys.exit(main())
