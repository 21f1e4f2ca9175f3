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
from launchdeck.engines.embedded import EMBEDDED_COMMAND, embedded_library, unpacked_command, unpacked_library
from launchdeck.engines.fetched import FetchedEngine, fetched_engines
from launchdeck.engines.offers import OfferKind
from launchdeck.engines.vllm_find import find_vllm
from launchdeck.files.looking import expanded, is_file, real
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

PROGRAM = "llama-server"
CACHE_FILE = "engines.json"


@dataclass(frozen=True, slots=True)
class FoundEngines:
    """`problems` are sentences about engines that should be there and cannot be used."""

    engines: tuple[EngineInfo, ...]
    problems: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """`file` holds the engine; what it can do is remembered for that file. `is_built_in`: it came with Launchdeck."""

    kind: EngineKind
    command: tuple[str, ...]
    file: Path
    is_built_in: bool = False


def find_engines(settings: Settings, paths: Paths) -> FoundEngines:
    """The llama-server of the settings, those got through Launchdeck, the one on PATH, the one that came along; and
    likewise vLLM.

    Starts each program for a moment, so it belongs into a worker thread.
    """
    problems = []
    engines = []
    cache = CapabilityCache(paths.cache / CACHE_FILE)
    named = settings.llama_server_path
    if named and not is_file(expanded(named)):
        problems.append(Message("There is no llama-server at {path}, where the settings say it is.", path=named))
    fetched = fetched_engines(paths)
    for candidate in _candidates(named, fetched):
        try:
            engines.append(_engine(candidate, cache.ask(candidate.command, candidate.file), settings.rpc_workers))
        except LaunchdeckError as error:
            problems.append(error.failure.message)
        except OSError as error:
            problems.append(
                Message("The engine {path} cannot be looked at: {reason}.", path=candidate.file, reason=error.strerror)
            )
    found, missing = find_vllm(
        settings.vllm_path, tuple(engine.folder for engine in fetched if engine.kind is OfferKind.ENVIRONMENT)
    )
    engines += found
    problems += missing
    for problem in problems:
        logger.warning("%s", problem)
    return FoundEngines(tuple(engines), tuple(problems))


def candidate_of(engine: FetchedEngine) -> Candidate | None:
    """Of an engine that was got through Launchdeck; None where its files are gone, and for vLLM."""
    if engine.kind is OfferKind.ARCHIVE and is_file(engine.program):
        return Candidate(EngineKind.LLAMA_SERVER, (str(engine.program),), engine.program)
    library = unpacked_library(engine.program) if engine.kind is OfferKind.WHEEL else None
    if library is None:
        return None
    return Candidate(EngineKind.EMBEDDED, unpacked_command(engine.program), library)


def _candidates(named: str, fetched: Sequence[FetchedEngine]) -> Iterator[Candidate]:
    """Programs before packages, so that the one that came along is the last."""
    ours = [candidate for candidate in map(candidate_of, fetched) if candidate]
    on_path = shutil.which(PROGRAM)
    programs = [candidate for candidate in ours if candidate.kind is EngineKind.LLAMA_SERVER]
    if named:
        programs.insert(0, _program(expanded(named)))
    if on_path:
        programs.append(_program(Path(on_path).absolute()))
    seen = set()
    for program in programs:
        if is_file(program.file) and real(program.file) not in seen:
            seen.add(real(program.file))
            yield program
    yield from (candidate for candidate in ours if candidate.kind is EngineKind.EMBEDDED)
    library = embedded_library()
    if library:
        yield Candidate(EngineKind.EMBEDDED, EMBEDDED_COMMAND, library, is_built_in=True)


def _program(path: Path) -> Candidate:
    return Candidate(EngineKind.LLAMA_SERVER, (str(path),), path)


def _engine(candidate: Candidate, able: Capabilities, workers: Sequence[str]) -> EngineInfo:
    supports_rpc = "--rpc" in able.flags
    devices = able.devices
    if supports_rpc and workers:
        devices += tuple(worker_devices(candidate.command, workers))
    vendors = {device.vendor for device in map(Listed.of, able.devices) if device is not None}
    return EngineInfo(
        kind=candidate.kind,
        command=candidate.command,
        path=None if candidate.is_built_in else candidate.file,
        version=able.version,
        gpu_types=frozenset(vendor for vendor in vendors if isinstance(vendor, GpuType)),
        devices=devices,
        flags=able.flags,
        supports_rpc=supports_rpc,
        build=able.build,
    )
