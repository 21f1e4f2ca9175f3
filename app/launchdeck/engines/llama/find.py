"""The llama-servers of this machine, in the order in which they are preferred."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.apart import ask_apart, look_apart
from launchdeck.engines.devices.listing import Listed
from launchdeck.engines.devices.masking import VULKAN_MASK
from launchdeck.engines.devices.vulkan_mask import hidden_devices
from launchdeck.engines.engine import FoundEngines
from launchdeck.engines.getting.fetched import FetchedEngine, fetched_engines
from launchdeck.engines.getting.offers import OfferKind
from launchdeck.engines.llama.capabilities import ANSWER_TIMEOUT_S, Capabilities, CapabilityCache, worker_devices
from launchdeck.engines.llama.embedded import EMBEDDED_COMMAND, embedded_library, unpacked_command, unpacked_library
from launchdeck.files.apart import NoAnswerError
from launchdeck.files.looking import expanded, is_file, on_path, real
from launchdeck.models.errors import does_not_answer
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

PROGRAM = "llama-server"
CACHE_FILE = "engines.json"


@dataclass(frozen=True, slots=True)
class Candidate:
    """`file` holds the engine; what it can do is remembered for that file. `is_built_in`: it came with Launchdeck."""

    kind: EngineKind
    command: tuple[str, ...]
    file: Path
    is_built_in: bool = False


def find_llama_servers(settings: Settings, paths: Paths) -> FoundEngines:
    """The llama-server of the settings, those got through Launchdeck, the one on PATH, the one that came along. What
    lies where nothing answers is left out, and told.

    Starts each program for a moment, so it belongs into a worker thread.
    """
    cache = CapabilityCache(paths.cache / CACHE_FILE)
    engines: list[EngineInfo] = []
    problems: list[Message] = []
    for candidate in look_apart(lambda: _look(settings, paths, problems)) or ():
        try:
            asked = partial(cache.ask, candidate.command, candidate.file)
            engines.append(_engine(candidate, ask_apart(asked, ANSWER_TIMEOUT_S), settings.rpc_workers))
        except LaunchdeckError as error:
            problems.append(error.failure.message)
        except OSError as error:
            problems.append(
                Message("The engine {path} cannot be looked at: {reason}.", path=candidate.file, reason=error.strerror)
            )
    return FoundEngines(tuple(engines), tuple(problems))


def _look(settings: Settings, paths: Paths, problems: list[Message]) -> tuple[Candidate, ...]:
    """Where llama-server may be; `problems` take what is not where it is said to be, anew for each round."""
    problems.clear()
    named = settings.llama_server_path
    try:
        if named and not is_file(expanded(named)):
            problems.append(Message("There is no llama-server at {path}, where the settings say it is.", path=named))
    except NoAnswerError as error:
        problems.append(does_not_answer(error.place))
    return tuple(_candidates(named, fetched_engines(paths)))


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
    found = on_path(PROGRAM)
    programs = [candidate for candidate in ours if candidate.kind is EngineKind.LLAMA_SERVER]
    if named:
        programs.insert(0, _program(expanded(named)))
    if found is not None:
        programs.append(_program(found))
    seen = set()
    for program in programs:
        with suppress(NoAnswerError):  # told where it was named, or by the log when it was given up
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
        hidden_devices=hidden_devices(devices, os.environ.get(VULKAN_MASK)),
        switches=able.switches,
    )
