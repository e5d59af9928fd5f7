"""The figures of a book as one table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from on_gpu.book import Book, Record
from on_gpu.setup import PRECISIONS

PEERS = ("torch eager", "torch compile", "onnxruntime")


def lines(book: Book) -> Iterator[str]:
    """All parts that there are."""
    yield f"# {book.data.get('description', {}).get('device', 'unknown device')}"
    ceilings = book.part("ceilings")
    if ceilings:
        yield from ("", "## Ceilings", "")
        yield from _rows(["what", "speed"], [[name, _speed(record)] for name, record in ceilings.items()])
    if book.part("parity"):
        yield from ("", "## Parity: largest error in standard deviations of an output", "")
        yield from _parity(book.part("parity"))
    if book.part("inference"):
        yield from ("", "## Inference", "")
        yield from _against(book.part("inference"))
    if book.part("training"):
        yield from ("", "## Training", "")
        rows = []
        for name, record in book.part("training").items():
            if name.startswith("follows"):
                error = f"{record['difference']:.1e}" if "losses" in record else _told(record)
                rows.append([name.removeprefix("follows "), error, _verdict(record.get("ok"))])
        yield from _rows(["losses against the CPU's", "error", ""], rows)
        yield ""
        yield from _against(book.part("training"))


def _rows(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    yield "| " + " | ".join(text.ljust(width) for text, width in zip(head, widths, strict=True)) + " |"
    yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    for row in rows:
        yield "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"


def _speed(record: Record) -> str:
    if "bytes_per_second" in record:
        return f"{record['bytes_per_second'] / 1e12:.2f} TB/s"
    if "flops_per_second" in record:
        return f"{record['flops_per_second'] / 1e12:.1f} TFLOP/s"
    if "graph_us" in record:
        return f"{record['alone_us']:.2f} us alone, {record['graph_us']:.2f} us in a graph"
    return _told(record)


def _told(record: Record) -> str:
    return str(record.get("error") or record.get("absent") or "?")[:60]


def _verdict(ok: Any) -> str:
    return "" if ok is None else "ok" if ok else "MISSED"


def _parity(part: dict[str, Record]) -> Iterator[str]:
    names = dict.fromkeys(name.rpartition(" ")[0] for name in part)
    rows = []
    for name in names:
        cells = []
        for precision in PRECISIONS:
            record = part.get(f"{name} {precision}", {})
            mark = "" if record.get("ok", True) else " MISSED"
            value = record.get("difference")
            cells.append(f"{value:.1e}{mark}" if isinstance(value, float) else _told(record) if record else "")
        rows.append([name, *cells])
    yield from _rows(["network", *PRECISIONS], rows)


def _against(part: dict[str, Record]) -> Iterator[str]:
    """Ours beside the peers: images a second, ratios, the share of the roofline."""
    rows = []
    for name, record in part.items():
        if not name.startswith("ours "):
            continue
        what = name.removeprefix("ours ")
        if "ms" not in record:
            rows.append([what, _told(record), *[""] * (len(PEERS) + 3)])
            continue
        cells = []
        for peer in PEERS:
            found = part.get(f"{peer} {what}", {})
            key = "latency_ms" if what.split()[1:2] == ["1"] else "ms"
            cells.append(f"{found[key] / record[key]:.2f}x" if key in found and key in record else _absent(found))
        replays = f"{record['other_bits']} of {record['replays']}" if "replays" in record else ""
        share = f"{record['share']:.0%}" if "share" in record else ""
        wait = f"{record['latency_ms']:.3f}" if "latency_ms" in record else f"{record['ms']:.2f}"
        rows.append([what, f"{record['images_per_second']:,.0f}", wait, *cells, share, replays])
    yield from _rows(["network", "images/s", "ms", *(f"of {peer}" for peer in PEERS), "roofline", "other bits"], rows)


def _absent(record: Record) -> str:
    return "" if not record else "-"
