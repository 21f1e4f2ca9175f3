"""What the hub answers, taken apart: every value is checked here, and a bad one costs its own entry alone. Pure."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from launchdeck.domain.text import Message
from launchdeck.network.failures import unreadable

logger = logging.getLogger(__name__)

SIZE_LIMIT_BYTES = 1 << 50
_BESIDES_WEIGHTS = (".json", ".txt", ".model", ".jinja")
_WANTED = (".gguf", ".safetensors", *_BESIDES_WEIGHTS)
# As huggingface_hub's `validate_repo_id` has it; a repository without an owner is of no use here.
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# A file's name has 255 bytes on most disks, and what is on its way has a longer one than what is there.
_PART_LIMIT_BYTES = 220
_NAME_LIMIT_BYTES = 1024
_DEPTH_LIMIT = 16


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file of a repository; what the hub does not tell is None."""

    name: str
    size_bytes: int | None
    sha256: str | None


def is_repository(name: object) -> bool:
    """Whether the hub may know a repository by this name, which is two folders of ours as well."""
    if not isinstance(name, str) or not _REPOSITORY.fullmatch(name) or len(name) > 193:
        return False
    if "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
        return False
    return all(part[0] not in ".-" and part[-1] not in ".-" for part in name.split("/"))


def is_safe_name(name: object) -> bool:
    """Whether this name from the network is that of a file below the folder it is put into, and can be one."""
    if not isinstance(name, str) or not name.isprintable() or "\\" in name:
        return False
    path = PurePosixPath(name)
    return (
        path.as_posix() == name
        and not path.is_absolute()
        and ".." not in path.parts
        and 0 < len(path.parts) <= _DEPTH_LIMIT
        and len(name.encode()) <= _NAME_LIMIT_BYTES
        and all(len(part.encode()) <= _PART_LIMIT_BYTES for part in path.parts)
    )


def is_besides_weights(name: str) -> bool:
    """Whether it belongs to a model in safetensors format without being weights."""
    return name.endswith(_BESIDES_WEIGHTS)


def sha256_of(text: object) -> str | None:
    """The checksum if it is one."""
    return text if isinstance(text, str) and _SHA256.fullmatch(text) else None


def size_of(value: object) -> int | None:
    """The size in bytes if it is one."""
    return value if type(value) is int and 0 <= value <= SIZE_LIMIT_BYTES else None


def parse_found(document: Any, host: str) -> list[str]:
    """The repositories that a search found. Raises LaunchdeckError: this is no list of repositories."""
    if not isinstance(document, list):
        raise unreadable(host, Message("it is no list of repositories"))
    names = [entry.get("id") for entry in document if isinstance(entry, dict)]
    good = [name for name in names if isinstance(name, str) and is_repository(name)]
    _tell_left_out(len(document) - len(good), host)
    return list(dict.fromkeys(good))


def parse_repository(document: Any, host: str) -> list[ListedFile]:
    """The files that may belong to a model. Raises LaunchdeckError: this describes no repository."""
    siblings = document.get("siblings") if isinstance(document, dict) else None
    if not isinstance(siblings, list):
        raise unreadable(host, Message("it is no list of files"))
    bad = 0
    files: dict[str, ListedFile] = {}
    for sibling in siblings:
        name = sibling.get("rfilename") if isinstance(sibling, dict) else None
        if isinstance(name, str) and not name.lower().endswith(_WANTED):
            continue
        file = _file(name, sibling)
        if file is None:
            bad += 1
        else:
            files.setdefault(file.name, file)
    _tell_left_out(bad, host)
    return list(files.values())


def _file(name: object, sibling: Any) -> ListedFile | None:
    """None: something about it is not as it should be. What is not told at all is another matter."""
    if not isinstance(name, str) or not is_safe_name(name):
        return None
    lfs, size, sha256 = sibling.get("lfs"), sibling.get("size"), None
    if lfs is not None:
        sha256 = sha256_of(lfs.get("sha256")) if isinstance(lfs, dict) else None
        if sha256 is None:
            return None
    if size is not None and size_of(size) is None:
        return None
    return ListedFile(name, size_of(size), sha256)


def _tell_left_out(count: int, host: str) -> None:
    if count:
        logger.warning("%s answered with %s entries that cannot be used; they are left out", host, count)
