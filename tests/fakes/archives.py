"""Archives as the makers of engines publish them, made in memory."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

# Acts as a llama-server that is asked what it can do.
SERVER = f"""#!{sys.executable}
import sys
words = sys.argv[1:]
if "--version" in words:
    print("version: 10605 (abcdef0)")
elif "--help" in words:
    print("--n-gpu-layers N   layers")
else:
    print("Available devices:\\n  Vulkan0: AMD Radeon RX 7900 XTX (24080 MiB, 23000 MiB free)")
"""


def tar_gz(files: dict[str, bytes | str], links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz of programs; texts are encoded."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def zipped(files: dict[str, bytes | str]) -> bytes:
    """A .zip, or a wheel."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def wheel_of(package: Path) -> bytes:
    """An installed package as a wheel."""
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return zipped({str(path.relative_to(package.parent)): path.read_bytes() for path in files})
