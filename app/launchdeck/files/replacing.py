"""Files that are replaced as a whole: a crash, a kill or a full disk leaves the old one or the new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from launchdeck.files.looking import real
from launchdeck.files.removal import remove_file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """What is written here takes the place of `path` once all of it is on the disk; readable by its user alone.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        remove_file(real(path.parent), Path(name).name)
        raise


def replace_text(path: Path, text: str) -> None:
    """Raises OSError, as `replacing` does."""
    with replacing(path) as file:
        file.write(text.encode())
