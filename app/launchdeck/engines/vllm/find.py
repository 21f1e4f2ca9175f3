"""The vLLMs of this machine, asked without importing them: that alone would take ten seconds and load torch."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.apart import ask_apart, look_apart
from launchdeck.engines.llama.capabilities import run_program
from launchdeck.files.apart import NoAnswerError
from launchdeck.files.looking import expanded, is_file, on_path
from launchdeck.files.reading import open_regular, parse_json
from launchdeck.models.errors import does_not_answer

logger = logging.getLogger(__name__)

PROGRAM = "vllm"
MIN_VERSION = (0, 11)
# What a program that is no Python script of ours to read (a container's wrapper) may take to tell its version.
WRAPPER_TIMEOUT_S = 90.0
_PROBE_TIMEOUT_S = 20.0
_AS_MODULE = ("-m", "vllm.entrypoints.cli.main")
_SHEBANG = re.compile(rb"#!\s*(\S*python[\d.]*)\s*$|'''exec' \"?([^\"\n]*?python[\d.]*)\"? ", re.MULTILINE)
_VERSION = re.compile(r"^(\d+(?:\.\d+)+)\S*$", re.MULTILINE)
# Runs in vLLM's own interpreter: the versions, torch's build, and the architectures that the registry's text names.
_PROBE = r"""
import importlib.metadata, importlib.util, json, pathlib, re, runpy
def folder(name):
    return pathlib.Path(next(iter(importlib.util.find_spec(name).submodule_search_locations)))
registry = (folder("vllm") / "model_executor" / "models" / "registry.py").read_text(encoding="utf-8")
torch = runpy.run_path(str(folder("torch") / "version.py"))
print(json.dumps({
    "version": importlib.metadata.version("vllm"),
    "cuda": bool(torch.get("cuda")),
    "hip": bool(torch.get("hip")),
    "architectures": re.findall(r'"([A-Z]\w+)": \(', registry),
}))
"""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """`interpreter` is the Python that vLLM is installed in, None where that cannot be told."""

    command: tuple[str, ...]
    path: Path
    interpreter: str | None


def find_vllm(named: str, environments: Sequence[Path] = ()) -> tuple[list[EngineInfo], list[Message]]:
    """The vLLM of the settings (a program, or a virtual environment), those of these virtual environments, the one on
    PATH, the one beside ourselves; and sentences about those that should be there and cannot be used.
    """
    engines: list[EngineInfo] = []
    problems: list[Message] = []
    candidates = look_apart(lambda: tuple(_candidates(named, environments))) or ()
    if named and look_apart(lambda: _if_it_answers(named)) is None:
        problems.append(Message("There is no vLLM at {path}, where the settings say it is.", path=named))
    for candidate in candidates:
        try:
            engine = ask_apart(partial(_ask, candidate), WRAPPER_TIMEOUT_S)
        except LaunchdeckError as error:
            problems.append(error.failure.message)
            continue
        except NoAnswerError as error:
            problems.append(does_not_answer(error.place))
            continue
        if (parse_version(engine.version) or MIN_VERSION) < MIN_VERSION:
            problems.append(
                Message(
                    "vLLM {version} at {path} is too old: {needed} or newer is needed.",
                    version=engine.version,
                    path=str(candidate.path),
                    needed=".".join(map(str, MIN_VERSION)),
                )
            )
            continue
        engines.append(engine)
    return engines, problems


def ask_environment(folder: Path) -> EngineInfo:
    """The vLLM in this virtual environment.

    Raises:
        LaunchdeckError: there is none, or it does not start.
    """
    candidate = _named(str(folder))
    if candidate is None:
        raise LaunchdeckError.of(
            Cause.ENGINE_MISSING, Message("There is no vLLM in {path}.", path=str(folder)), Message("Install it again.")
        )
    return _ask(candidate)


def parse_version(version: str | None) -> tuple[int, ...] | None:
    """The numbers of a version, None where there are none: (0, 20, 1) of "0.20.1+cpu"."""
    match = re.match(r"\d+(?:\.\d+)*", version or "")
    return tuple(map(int, match[0].split("."))) if match else None


def _candidates(named: str, environments: Sequence[Path]) -> Iterator[_Candidate]:
    """Each interpreter once; as it is called, because the Python of a virtual environment is a link."""
    program = on_path(PROGRAM)
    found = (
        _if_it_answers(named) if named else None,
        *(_if_it_answers(str(folder)) for folder in environments),
        None if program is None else _of_program(program),
        _beside_us(),
    )
    seen = set()
    for candidate in found:
        key = candidate and (candidate.interpreter or str(candidate.path))
        if candidate and key not in seen:
            seen.add(key)
            yield candidate


def _if_it_answers(named: str) -> _Candidate | None:
    """One that does not is told by the log when it is given up."""
    try:
        return _named(named)
    except NoAnswerError:
        return None


def _named(named: str) -> _Candidate | None:
    place = expanded(named)
    if is_file(place):
        return _of_program(place)
    programs = place / ("Scripts" if os.name == "nt" else "bin")
    if is_file(programs / PROGRAM):
        return _of_program(programs / PROGRAM)
    python = programs / "python"
    return _Candidate((str(python), *_AS_MODULE), python, str(python)) if is_file(python) else None


def _of_program(path: Path) -> _Candidate:
    try:
        with open_regular(path) as file:
            match = _SHEBANG.search(file.read(512))
    except OSError:  # asking it says what is wrong
        match = None
    interpreter = os.fsdecode(match[1] or match[2]) if match else None
    return _Candidate((str(path),), path, interpreter)


def _beside_us() -> _Candidate | None:
    if importlib.util.find_spec(PROGRAM) is None:
        return None
    return _Candidate((sys.executable, *_AS_MODULE), Path(sys.executable), sys.executable)


def _ask(candidate: _Candidate) -> EngineInfo:
    answers = _probe(candidate.interpreter) if candidate.interpreter else None
    if answers is None:
        output = run_program([*candidate.command, "--version"], WRAPPER_TIMEOUT_S)
        match = _VERSION.search(output)
        answers = {"version": match[0] if match else None, "cuda": True, "hip": True}
    version = answers["version"]
    vendors = {GpuType.NVIDIA: answers["cuda"], GpuType.AMD: answers["hip"]}
    on_gpu = frozenset(vendor for vendor, is_built in vendors.items() if is_built and "+cpu" not in (version or ""))
    return EngineInfo(
        kind=EngineKind.VLLM,
        command=candidate.command,
        path=candidate.path,
        version=version,
        gpu_types=on_gpu or frozenset({GpuType.CPU}),
        architectures=frozenset(answers.get("architectures", ())),
    )


def _probe(interpreter: str) -> dict[str, Any] | None:
    """What this Python's vLLM is; None where it has none that can be read."""
    command: Sequence[str] = (interpreter, "-c", _PROBE)
    try:
        answers = parse_json(run_program(command, _PROBE_TIMEOUT_S))
    except (LaunchdeckError, ValueError) as error:
        logger.info("%s has no vLLM of its own: %s", interpreter, error)
        return None
    return answers if _is_answer(answers) else None


def _is_answer(answers: object) -> bool:
    if not isinstance(answers, dict):
        return False
    version, architectures = answers.get("version"), answers.get("architectures", [])
    return (
        isinstance(version, str | None)
        and all(isinstance(answers.get(name), bool) for name in ("cuda", "hip"))
        and isinstance(architectures, list)
        and all(isinstance(name, str) for name in architectures)
    )
