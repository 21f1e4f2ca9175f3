"""A network mount whose server is gone: whoever looks below it waits for ever."""

from __future__ import annotations

import subprocess
from pathlib import Path


def build(folder: Path) -> Path:
    """Compile the library that makes a mount of a folder, see dead.c."""
    library = folder / "dead_mount.so"
    source = Path(__file__).with_name("dead.c")
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror"]
    subprocess.run(["cc", *options, str(source), "-o", str(library), "-ldl"], check=True)
    return library


def environment(library: Path, folder: Path) -> dict[str, str]:
    """What shows a process `folder` as such a mount; the folder itself need not be there."""
    return {"LD_PRELOAD": str(library), "LAUNCHDECK_FAKE_DEAD_MOUNT": str(folder)}
