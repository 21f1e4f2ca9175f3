"""The engines of this machine, in the order in which they are preferred."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.capabilities import Capabilities, CapabilityCache, worker_devices
from launchdeck.engines.devices import Listed
from launchdeck.engines.embedded import EMBEDDED_COMMAND, embedded_library
from launchdeck.engines.vllm_find import find_vllm
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

PROGRAM = "llama-server"
_CACHE_FILE = "engines.json"


@dataclass(frozen=True, slots=True)
class FoundEngines:
    """`problems` are sentences about engines that should be there and cannot be used."""

    engines: tuple[EngineInfo, ...]
    problems: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """`file` holds the engine; what it can do is remembered for that file."""

    kind: EngineKind
    command: tuple[str, ...]
    file: Path


def find_engines(settings: Settings, paths: Paths) -> FoundEngines:
    """The llama-server of the settings, the one on PATH, the one that comes with Launchdeck; and likewise vLLM.

    Starts each program for a moment, so it belongs into a worker thread.
    """
    problems = []
    engines = []
    cache = CapabilityCache(paths.cache / _CACHE_FILE)
    named = settings.llama_server_path
    if named and not Path(named).expanduser().is_file():
        problems.append(Message("There is no llama-server at {path}, where the settings say it is.", path=named))
    for candidate in _candidates(named):
        try:
            engines.append(_engine(candidate, cache.ask(candidate.command, candidate.file), settings.rpc_workers))
        except LaunchdeckError as error:
            problems.append(error.failure.message)
    found, missing = find_vllm(settings.vllm_path)
    engines += found
    problems += missing
    for problem in problems:
        logger.warning("%s", problem)
    return FoundEngines(tuple(engines), tuple(problems))


def _candidates(named: str) -> Iterator[_Candidate]:
    seen = set()
    for place in (Path(named).expanduser() if named else None, shutil.which(PROGRAM)):
        path = Path(place).absolute() if place else None
        if path and path.is_file() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield _Candidate(EngineKind.LLAMA_SERVER, (str(path),), path)
    library = embedded_library()
    if library:
        yield _Candidate(EngineKind.EMBEDDED, EMBEDDED_COMMAND, library)


def _engine(candidate: _Candidate, able: Capabilities, workers: Sequence[str]) -> EngineInfo:
    supports_rpc = "--rpc" in able.flags
    devices = able.devices
    if supports_rpc and workers:
        devices += tuple(worker_devices(candidate.command, workers))
    vendors = {device.vendor for device in map(Listed.of, able.devices) if device is not None}
    return EngineInfo(
        kind=candidate.kind,
        command=candidate.command,
        path=None if candidate.kind is EngineKind.EMBEDDED else candidate.file,
        version=able.version,
        gpu_types=frozenset(vendor for vendor in vendors if isinstance(vendor, GpuType)),
        devices=devices,
        flags=able.flags,
        supports_rpc=supports_rpc,
        build=able.build,
    )
