"""Tables of paths and labels (`csv`)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from netdsl.data.errors import DataError, named
from netdsl.data.scan import MAX_CLASSES, MAX_FILES
from netdsl.data.sources import Csv
from netdsl.language.diagnostics import did_you_mean

MAX_TABLE_BYTES = 2 * 2**30
"""Largest table."""

MAX_FIELD = 65_536
"""Longest value in a table, in characters."""

_IMAGE = ("path", "file", "filename", "image", "filepath", "file_name", "image_path", "id")
_LABEL = ("label", "class", "category", "target", "class_name", "labels")


def read_table(path: Path, source: Csv, max_files: int = MAX_FILES) -> list[tuple[str, str]]:
    """(path as it is written, label as it is written) of each line. Raises DataError."""
    separator = source.separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise DataError("E0909", f"{path} has {path.stat().st_size:_} bytes; tables have up to {MAX_TABLE_BYTES:_}")
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = _lines(file, separator, path)
            head = [name.strip() for name in next(lines, (0, []))[1]]
            if not head:
                raise DataError("E0902", f"{path} is empty", "the first line names the columns, e.g. path,label")
            place = _column(head, source.image, _IMAGE, "image", path)
            label = _column(head, source.label, _LABEL, "label", path)
            rows: list[tuple[str, str]] = []
            for number, row in lines:
                if len(row) <= max(place, label) or not row[place].strip() or not row[label].strip():
                    wanted = f"{len(head)} values ({', '.join(head)})"
                    raise DataError(
                        "E0907", f"{path}, line {number}: expected {wanted}, found {len(row)}: {_shown(row)}"
                    )
                rows.append((row[place].strip().replace("\\", "/"), row[label].strip()))
                if len(rows) > max_files:
                    message = f"{path} has more than {max_files:_} lines"
                    raise DataError("E0909", message, "the caller can raise the limit `max_files`")
    except FileNotFoundError:
        raise DataError("E0901", f"there is no table {path}", "a relative path starts at the recipe's folder") from None
    except UnicodeDecodeError as error:
        raise DataError("E0907", f"{path} is not text in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise DataError("E0901", f"cannot read the table {path}: {error.strerror or error}") from None
    if not rows:
        raise DataError("E0902", f"{path} names no image", "below the names of the columns: a line for each image")
    return rows


def _lines(file: Iterator[str], separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something, with their numbers."""
    before = csv.field_size_limit()
    reader = csv.reader(file, delimiter=separator, strict=True)
    while True:
        csv.field_size_limit(MAX_FIELD)
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError("E0907", f"{path}, line {reader.line_num}: {error}") from None
        finally:
            csv.field_size_limit(before)
        if row is None:
            return
        if any(value.strip() for value in row):
            yield reader.line_num, row


def _column(head: Sequence[str], stated: str | None, usual: Sequence[str], what: str, path: Path) -> int:
    if stated is not None:
        if stated not in head:
            help = did_you_mean(stated, head) or f"it has {', '.join(head)}"
            raise DataError("E0907", f"{path} has no column `{stated}`", help)
        return head.index(stated)
    lowered = [name.lower() for name in head]
    for name in usual:
        if name in lowered:
            return lowered.index(name)
    help = f'say which it is: csv(..., {what} = "COLUMN"); the first line names the columns'
    raise DataError("E0907", f"{path} has the columns {_shown(head)}, and none is called {', '.join(usual[:4])}", help)


def _shown(values: Sequence[str]) -> str:
    text = ", ".join(repr(value) for value in values[:8])
    return text[:200] + ("..." if len(text) > 200 or len(values) > 8 else "")


def classes_of(labels: Sequence[str], where: str) -> tuple[list[int], list[str]]:
    """Numbers and names of the classes: whole numbers are classes from 0 on, other labels are names.

    Raises DataError.
    """
    distinct = sorted(set(labels))
    if len(distinct) > MAX_CLASSES:
        raise DataError("E0909", f"{where} has {len(distinct):_} classes; a dataset has at most {MAX_CLASSES:_}")
    if all(_is_whole(label) for label in distinct):
        count = max(int(label) for label in distinct) + 1
        if count > MAX_CLASSES:
            raise DataError("E0909", f"{where} has the class {count - 1}; classes count from 0 to {MAX_CLASSES - 1:_}")
        names = [str(number) for number in range(count)]
        numbers = {label: int(label) for label in distinct}
    else:
        names, numbers = distinct, {label: number for number, label in enumerate(distinct)}
    require_each(names, {numbers[label] for label in distinct}, where)
    return [numbers[label] for label in labels], names


def _is_whole(label: str) -> bool:
    return label.isascii() and label.isdecimal() and len(label) < 10


def require_each(names: Sequence[str], found: set[int], where: str) -> None:
    """That there are two classes, and an image of each. Raises DataError."""
    if len(names) < 2:
        help = "a network learns to tell two or more classes apart"
        raise DataError("E0903", f"{where} has one class, `{names[0] if names else ''}`", help)
    missing = [name for number, name in enumerate(names) if number not in found]
    if missing:
        what = "1 class has" if len(missing) == 1 else f"{len(missing)} classes have"
        help = "numbers of classes count from 0 on, without gaps"
        raise DataError("E0904", f"{where}: {what} no image", help, named(f"class {name}" for name in missing))


def require_known(found: Sequence[str], classes: Sequence[str], where: str) -> None:
    """That data to validate on has no other classes than the data to train on. Raises DataError."""
    unknown = [name for name in found if name not in classes]
    if unknown:
        message = f"the data to validate on, {where}, has other classes than the data to train on"
        help = f"the classes are {', '.join(classes[:20])}{', ...' if len(classes) > 20 else ''}"
        raise DataError("E0906", message, help, named(f"unknown class {name}" for name in unknown))
