"""Fetching one file: resumed where it broke off, checked before it counts, and never on a disk that is too full."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from launchdeck.domain.text import Message
from launchdeck.files.apart import run_apart
from launchdeck.network.failures import away, host_of
from launchdeck.network.landing import (
    check_disk_space,
    fetched_bytes,
    is_there,
    is_whole,
    not_written,
    note_checked,
    part_bytes,
    part_path,
)
from launchdeck.network.remote_file import NamedFile, RemoteFile

# Longer than a server's silence or a pause between two tries: a proxy that never answers, or a disk.
_STALL_S = 120.0
_SPEED_INTERVAL_S = 0.25
_SPEED_SAMPLES = 20


class _TellBytes(Protocol):
    def __call__(self, done_bytes: int, *, is_checking: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes_per_s` and `seconds_left` are None until there is something to measure.

    `is_checking`: what is there is read and compared with its SHA-256; nothing comes meanwhile.
    """

    done_bytes: int
    total_bytes: int
    bytes_per_s: float | None = None
    is_checking: bool = False

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


def _measured(done_bytes: int, total_bytes: int, speed: Speed, *, is_checking: bool) -> Progress:
    return Progress(done_bytes, total_bytes, None if is_checking else speed.measure(done_bytes), is_checking)


async def download_all(files: Sequence[NamedFile], folder: Path, on_progress: Callable[[Progress], None]) -> None:
    """Fetch these into the folder, one after the other. Cancelled, what has come is kept for the next time.

    A file that is there already is checked; where it is another one it stays until the right one has come.

    Raises:
        LaunchdeckError: the disk is full, the server refuses or stays away, or a file is not the one announced.
    """
    loop = asyncio.get_running_loop()
    stop = threading.Event()
    news = _News(loop, on_progress)
    work = asyncio.ensure_future(run_apart(partial(_fetch_all, tuple(files), folder, news.tell, stop)))
    try:
        while not (await asyncio.wait({work}, timeout=_STALL_S))[0]:
            if not news.came_since_last_asked():
                host = host_of(files[0].remote.url)
                raise away(host, Message("nothing came within {seconds} s", seconds=round(_STALL_S)))
        work.result()
    finally:
        stop.set()
        news.end()
        work.cancel()


async def download(remote: RemoteFile, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Fetch one file to `target`; `on_bytes` is told how many of its bytes are there. Else as `download_all`."""
    await download_all([NamedFile(target.name, remote)], target.parent, lambda now: on_bytes(now.done_bytes))


class _News:
    """Carries progress from the worker's thread to the loop: the latest of each stretch of fetching or of checking."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_progress: Callable[[Progress], None]) -> None:
        self._loop = loop
        self._on_progress: Callable[[Progress], None] | None = on_progress
        self._lock = threading.Lock()
        self._waiting: list[Progress] = []
        self._came = True

    def tell(self, now: Progress) -> None:
        """From the worker's thread."""
        with self._lock:
            is_on_its_way, self._came = bool(self._waiting), True
            if self._waiting and self._waiting[-1].is_checking == now.is_checking:
                self._waiting.pop()
            self._waiting.append(now)
        if not is_on_its_way:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._hand_over)

    def came_since_last_asked(self) -> bool:
        with self._lock:
            came, self._came = self._came, False
        return came

    def end(self) -> None:
        self._on_progress = None

    def _hand_over(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for now in waiting:
            if self._on_progress is not None:
                self._on_progress(now)


def _fetch_all(
    files: Sequence[NamedFile], folder: Path, on_progress: Callable[[Progress], None], stop: threading.Event
) -> None:
    total_bytes = sum(file.remote.size_bytes for file in files)
    check_disk_space(folder, total_bytes - sum(fetched_bytes(folder / file.name, file.remote) for file in files))
    before = 0
    for file in files:
        speed = Speed()

        def tell(done_bytes: int, *, is_checking: bool, before: int = before, speed: Speed = speed) -> None:
            on_progress(_measured(before + done_bytes, total_bytes, speed, is_checking=is_checking))

        target = folder / file.name
        try:
            _fetch_one(file.remote, target, tell, stop)
        except OSError as error:
            raise not_written(target, error) from error
        if stop.is_set():
            return
        before += file.remote.size_bytes


def _fetch_one(remote: RemoteFile, target: Path, tell: _TellBytes, stop: threading.Event) -> None:
    """Raises LaunchdeckError or OSError."""
    from launchdeck.network.transfer import throw_away, transfer  # noqa: PLC0415 (httpx takes a while, and few need it)

    check = partial(tell, is_checking=True)
    if is_there(target, remote, check, stop):
        tell(remote.size_bytes, is_checking=False)
        return
    part = part_path(target, remote)
    check_disk_space(target.parent, remote.size_bytes - part_bytes(target, remote))
    transfer(remote, part, partial(tell, is_checking=False), stop)
    if stop.is_set():
        return
    if not is_whole(part, remote, check, stop):
        if stop.is_set():
            return
        raise throw_away(part)
    part.replace(target)
    note_checked(target, remote)
    tell(remote.size_bytes, is_checking=False)
