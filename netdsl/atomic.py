"""Files that are either there in full or not there at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The name of a temporary file beside `path`, which takes the place of `path` once the block has ended well.

    A block that fails, or is interrupted, leaves `path` as it was and no temporary file behind. A symbolic link stays
    one: what it points to is replaced. Raises OSError, e.g. for a folder that does not exist.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(21, "is a folder", str(path))
    # The suffix stays the last: writers choose a format by it. O_EXCL: never through a link that somebody planted.
    temporary = target.with_name(f".{target.stem[:100]}.{secrets.token_hex(6)}{target.suffix}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
