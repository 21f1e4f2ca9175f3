"""Fetching one file: resumed where it broke off, checked before it counts, and never on a disk that is too full."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message

if TYPE_CHECKING:
    import httpx

_log = logging.getLogger(__name__)

PART_SUFFIX = ".part"
_TIMEOUT_S = 30.0
_TRIES_WITHOUT_PROGRESS = 6
_FIRST_PAUSE_S = 0.5
_SPEED_INTERVAL_S = 0.25
_SPEED_SAMPLES = 20
_DISK_RESERVE_BYTES = 256 * 1024 * 1024
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
_FORBIDDEN = frozenset({401, 403})
# A server that has too much to do, or a part of it that is being restarted: the same as a broken line.
_FOR_A_WHILE = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch. `sha256` is None where nobody tells it; then its size alone is checked.

    `headers` may hold a key: they go to the address's own host and to no other that it leads to.
    """

    url: str
    size_bytes: int
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class NamedFile:
    """`name` is its path below the folder that it is to be put into."""

    name: str
    remote: RemoteFile


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes_per_s` and `seconds_left` are None until there is something to measure."""

    done_bytes: int
    total_bytes: int
    bytes_per_s: float | None = None

    @property
    def seconds_left(self) -> float | None:
        return (self.total_bytes - self.done_bytes) / self.bytes_per_s if self.bytes_per_s else None


class Speed:
    """Bytes per second over the last few seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SPEED_SAMPLES)

    def measure(self, done_bytes: int) -> float | None:
        """None until a moment has passed."""
        now_s = time.monotonic()
        if not self._samples or now_s - self._samples[-1][0] >= _SPEED_INTERVAL_S:
            self._samples.append((now_s, done_bytes))
        first_s, first_bytes = self._samples[0]
        return (done_bytes - first_bytes) / (now_s - first_s) if now_s > first_s else None


def part_path(target: Path, remote: RemoteFile) -> Path:
    """What is there of the file so far. Another version of the file has another name, so no two are mixed."""
    version = (remote.sha256 or str(remote.size_bytes))[:16]
    return target.with_name(f"{target.name}.{version}{PART_SUFFIX}")


def fetched_bytes(target: Path, remote: RemoteFile) -> int:
    """How much of the file is on the disk already."""
    if _size_bytes(target) == remote.size_bytes:
        return remote.size_bytes
    return _size_bytes(part_path(target, remote)) or 0


def check_disk_space(folder: Path, needed_bytes: int) -> None:
    """Raises LaunchdeckError: so many bytes and a reserve have no room there."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(existing).free
    if needed_bytes and needed_bytes + _DISK_RESERVE_BYTES > free_bytes:
        raise LaunchdeckError.of(
            Cause.DISK_FULL,
            Message(
                "{needed} GiB are needed in {folder}, and {free} GiB are free there.",
                needed=f"{needed_bytes / 1024**3:.1f}",
                folder=folder,
                free=f"{free_bytes / 1024**3:.1f}",
            ),
            Message("Free some space, then try again."),
        )


async def download_all(files: Sequence[NamedFile], folder: Path, on_progress: Callable[[Progress], None]) -> None:
    """Fetch these into the folder, one after the other. Cancelled, what has come is kept for the next time.

    Raises:
        LaunchdeckError: see `download`.
    """
    total_bytes = sum(file.remote.size_bytes for file in files)
    check_disk_space(folder, total_bytes - sum(fetched_bytes(folder / file.name, file.remote) for file in files))
    speed = Speed()
    before = 0
    for file in files:

        def tell(done_bytes: int, before: int = before) -> None:
            done = before + done_bytes
            on_progress(Progress(done, total_bytes, speed.measure(done)))

        await download(file.remote, folder / file.name, tell)
        before += file.remote.size_bytes


async def download(remote: RemoteFile, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch the file to `target`; `on_bytes` is told how many of its bytes are there.

    What was fetched stays on the disk when this is cancelled or fails, and the next call goes on from there.

    Raises:
        LaunchdeckError: the disk is full, the server refuses or stays away, or the file is not the one announced.
    """
    part = part_path(target, remote)
    if _size_bytes(target) == remote.size_bytes:
        on_bytes(remote.size_bytes)
        return
    check_disk_space(target.parent, remote.size_bytes - fetched_bytes(target, remote))
    try:
        _begin(part)
        await _fetch(remote, part, on_bytes)
        await asyncio.to_thread(_check, part, remote)
        part.replace(target)
    except OSError as error:
        raise LaunchdeckError.of(
            Cause.DISK_FULL,
            Message("The file {path} could not be written: {reason}.", path=str(target), reason=error.strerror),
            Message("Free some space, then try again."),
        ) from error


class _BusyError(Exception):
    """The server cannot answer just now, and may in a moment."""


async def _fetch(remote: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> None:
    """Ask for what is missing until nothing is; pauses that grow for as long as nothing comes."""
    import httpx  # noqa: PLC0415 (it takes a while, and few starts need it)

    tries = 0
    async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True) as session:
        while (before := _size_bytes(part) or 0) < remote.size_bytes:
            try:
                await _fetch_rest(session, remote, part, on_bytes)
            except (httpx.TransportError, _BusyError) as error:
                there = _size_bytes(part)
                tries = tries + 1 if there == before else 0
                _log.info("%s broke off at %s bytes: %s", part.name, there, type(error).__name__)
                if tries >= _TRIES_WITHOUT_PROGRESS:
                    raise _away(remote) from error
                await asyncio.sleep(_FIRST_PAUSE_S * 2**tries)
    on_bytes(remote.size_bytes)


async def _fetch_rest(
    session: httpx.AsyncClient, remote: RemoteFile, part: Path, on_bytes: Callable[[int], None]
) -> None:
    done = _size_bytes(part) or 0
    ask = {**remote.headers, "Range": f"bytes={done}-", "Accept-Encoding": "identity"}
    async with session.stream("GET", remote.url, headers=ask) as answer:
        if answer.status_code == _RANGE_NOT_SATISFIABLE:
            raise _changed(part)
        if answer.status_code in _FOR_A_WHILE:
            raise _BusyError
        if answer.is_error:
            raise _refused(remote, answer.status_code)
        continued = answer.status_code == _PARTIAL_CONTENT
        done = done if continued else 0  # a server that knows no ranges begins anew
        with _opened(part, "ab" if continued else "wb") as file:
            async for chunk in answer.aiter_bytes():
                done += len(chunk)
                if done > remote.size_bytes:
                    raise _changed(part)
                await asyncio.to_thread(file.write, chunk)
                on_bytes(done)


def _begin(part: Path) -> None:
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()


def _opened(part: Path, mode: Literal["ab", "wb"]) -> BinaryIO:
    return part.open(mode)


def _size_bytes(path: Path) -> int | None:
    """None for a file that is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _check(part: Path, remote: RemoteFile) -> None:
    if remote.sha256 is None:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        raise _changed(part)


def _changed(part: Path) -> LaunchdeckError:
    """What is not the file is of no use, not even in part."""
    part.unlink()
    return LaunchdeckError.of(
        Cause.START_FAILED,
        Message("What came for {file} is not the file that was announced.", file=part.name.split(PART_SUFFIX)[0]),
        Message("It was thrown away; download it again."),
    )


def _refused(remote: RemoteFile, status: int) -> LaunchdeckError:
    members_only = Message("Where a model is for members only, log in with its page's terms accepted and set HF_TOKEN.")
    gone = Message("Look for it again: it may have been moved or taken away.")
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The server does not give {url} (status {status}).", url=remote.url, status=status),
        members_only if status in _FORBIDDEN else gone,
    )


def _away(remote: RemoteFile) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.STALLED,
        Message("The server of {url} stays away.", url=remote.url),
        Message("What has come is kept; go on when the network is back."),
    )
