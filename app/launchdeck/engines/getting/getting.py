"""Getting an engine: what fits this machine, fetched, checked, unpacked, asked what it is, and kept."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import platform
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import Gpu
from launchdeck.domain.text import Message
from launchdeck.engines.getting.environment import install_vllm, python_of
from launchdeck.engines.getting.fetched import FetchedEngine, engines_folder, keep, remove
from launchdeck.engines.getting.offers import LLAMA_CPP, XLLAMACPP, Offer, OfferKind, Target, offers
from launchdeck.engines.getting.releases import Release, fetch_releases
from launchdeck.engines.getting.unpack import unpack
from launchdeck.engines.llama.capabilities import CapabilityCache
from launchdeck.engines.llama.embedded import PACKAGE
from launchdeck.engines.llama.find import CACHE_FILE, PROGRAM, candidate_of
from launchdeck.engines.vllm.find import ask_environment
from launchdeck.files.apart import run_apart
from launchdeck.files.looking import real
from launchdeck.files.reading import read_bytes
from launchdeck.files.removal import is_child_name, remove_tree
from launchdeck.network.download import Progress, download_all
from launchdeck.network.failures import host_of, too_slow
from launchdeck.network.landing import check_disk_space, fetched_bytes
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

# A release of xllamacpp is six: one for each of its backends.
_RELEASES = {LLAMA_CPP: 5, XLLAMACPP: 30}
_ROCM_VERSION = Path("/opt/rocm/.info/version")
_VERSION_LIMIT_BYTES = 4096
_DOWNLOADS = "downloads"
# Both lists of releases at once; each has a patience of its own, which a name that is looked up does not know.
_PATIENCE_S = 20.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done, in words, and how far it is; `progress` is None where nobody can tell."""

    words: Message
    progress: Progress | None = None


Tell = Callable[[Step], None]


async def find_offers(gpus: Sequence[Gpu], settings: Settings) -> tuple[Offer, ...]:
    """What can be got for these GPUs on this machine (none: for its CPU), the best first.

    Raises:
        LaunchdeckError: the source of engines does not answer.
    """
    source = settings.engine_source_url
    asked = [run_apart(partial(_try_releases, source, name, count)) for name, count in _RELEASES.items()]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            target, answers = await asyncio.gather(
                run_apart(partial(_target, tuple(gpus))),
                asyncio.gather(*asked),
            )
    except TimeoutError as error:
        raise too_slow(host_of(source), _PATIENCE_S) from error
    archives, wheels = _of_those_that_answered(answers)
    return offers(target, archives, wheels, own_index=bool(settings.package_index_url))


def _try_releases(source: str, repository: str, count: int) -> tuple[Release, ...] | LaunchdeckError:
    try:
        return fetch_releases(source, repository, count)
    except LaunchdeckError as error:
        return error


def _of_those_that_answered(
    answers: Sequence[tuple[Release, ...] | LaunchdeckError],
) -> Iterator[tuple[Release, ...]]:
    """A mirror may have one project and not the other. Raises LaunchdeckError: it has none."""
    errors = [answer for answer in answers if isinstance(answer, LaunchdeckError)]
    if len(errors) == len(answers):
        raise errors[0]
    for answer in answers:
        if isinstance(answer, LaunchdeckError):
            logger.warning("Some engines cannot be offered: %s", answer)
        yield () if isinstance(answer, LaunchdeckError) else answer


def fetched_already_bytes(offer: Offer, paths: Paths) -> int:
    """How much of it is on the disk from an earlier try."""
    folder = engines_folder(paths) / _DOWNLOADS
    return sum(fetched_bytes(folder / file.name, file.remote) for file in offer.files)


async def get(offer: Offer, paths: Paths, settings: Settings, tell: Tell) -> FetchedEngine:
    """Fetch, check and install it, and ask it what it is. Cancelled, what has come stays for the next time.

    Raises:
        LaunchdeckError: it cannot be had, or does not work on this machine; nothing but the download is left then.
    """
    if not is_child_name(offer.id) or offer.id == _DOWNLOADS:
        raise ValueError(f"{offer.id!r} is no name of an engine's folder")
    folder = engines_folder(paths) / offer.id
    downloads = engines_folder(paths) / _DOWNLOADS
    if offer.files:
        await download_all(offer.files, downloads, lambda now: tell(_of_download(now)))
    try:
        await _to_the_end(partial(remove, folder))
        if offer.kind is OfferKind.ENVIRONMENT:
            await _to_the_end(partial(check_disk_space, folder, offer.needs_bytes))
            await install_vllm(folder, settings.package_index_url, lambda *told: tell(_of_pip(*told)))
            engine = FetchedEngine(folder, offer.kind, offer.title, python_of(folder))
        else:
            tell(Step(Message("Unpacking")))
            engine = await _to_the_end(partial(_unpack, offer, downloads, folder))
        tell(Step(Message("Asking it what it is")))
        await _to_the_end(partial(_ask, engine, paths))
        keep(engine)
    except BaseException:
        await _to_the_end(partial(remove, folder))
        raise
    await asyncio.to_thread(_clear_downloads, paths)  # of older tries as well
    return engine


def _clear_downloads(paths: Paths) -> None:
    """They have served their purpose: one that cannot be deleted takes room, and costs nothing else."""
    try:
        remove_tree(real(engines_folder(paths)), _DOWNLOADS)
    except OSError as error:
        logger.warning("The downloads in %s could not be removed: %s", engines_folder(paths) / _DOWNLOADS, error)


def _target(gpus: tuple[Gpu, ...]) -> Target:
    from packaging.tags import sys_tags  # noqa: PLC0415 (few starts need it)

    version = None
    with suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version(PACKAGE)
    return Target(
        system=sys.platform,
        machine=platform.machine(),
        gpus=gpus,
        rocm=_rocm_version(),
        tags=frozenset(map(str, sys_tags())),
        embedded_version=version,
    )


def _rocm_version() -> tuple[int, ...] | None:
    """Of the ROCm that is installed; None: there is none, or its file does not say."""
    try:
        text = read_bytes(_ROCM_VERSION, _VERSION_LIMIT_BYTES).decode()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s cannot be read (%s): no engine for ROCm is offered", _ROCM_VERSION, error)
        return None
    found = re.match(r"\d{1,4}(?:\.\d{1,9})*", text, re.ASCII)
    return tuple(map(int, found[0].split("."))) if found else None


def _unpack(offer: Offer, downloads: Path, folder: Path) -> FetchedEngine:
    """Each archive into the folder; what comes beside a program (CUDA's libraries) right beside it."""
    first, *beside = (downloads / file.name for file in offer.files)
    unpack(first, folder)
    program = folder if offer.kind is OfferKind.WHEEL else _program(folder, first.name)
    for archive in beside:
        unpack(archive, program.parent, flat=True)
    return FetchedEngine(folder, offer.kind, offer.title, program)


def _program(folder: Path, archive: str) -> Path:
    name = f"{PROGRAM}.exe" if sys.platform == "win32" else PROGRAM
    for path in folder.rglob(name):
        if path.is_file():
            return path
    raise LaunchdeckError.of(
        Cause.START_FAILED,
        Message("There is no {program} in {name}.", program=name, name=archive),
        Message("Get another engine."),
    )


def _ask(engine: FetchedEngine, paths: Paths) -> None:
    """Raises LaunchdeckError: it does not start here, or is none."""
    if engine.kind is OfferKind.ENVIRONMENT:
        ask_environment(engine.folder)
        return
    candidate = candidate_of(engine)
    if candidate is None:
        raise LaunchdeckError.of(
            Cause.START_FAILED, Message("There is no engine in {path}.", path=str(engine.folder)), None
        )
    CapabilityCache(paths.cache / CACHE_FILE).ask(candidate.command, candidate.file)


def _of_download(now: Progress) -> Step:
    return Step(Message("Checking") if now.is_checking else Message("Downloading"), now)


def _of_pip(line: str, done_bytes: int, total_bytes: int) -> Step:
    progress = Progress(done_bytes, total_bytes) if 0 < total_bytes >= done_bytes else None
    return Step(Message("Installing: {line}", line=line) if line else Message("Downloading"), progress)


async def _to_the_end(work: Callable[[], _T]) -> _T:
    """In a worker thread. A thread cannot be cancelled, so whoever is cancelled waits for what it still writes."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
