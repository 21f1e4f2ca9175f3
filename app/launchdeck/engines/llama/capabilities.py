"""What an engine's program can do, asked of the program itself: its version, its flags, its devices."""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.engines.devices.listing import Listed
from launchdeck.engines.devices.masking import MASKS, child_environment
from launchdeck.engines.llama.argv import OPTION_VARIABLES
from launchdeck.engines.llama.embedded import EMBEDDED_COMMAND, EMBEDDED_PROGRAM
from launchdeck.files.apart import looking_at
from launchdeck.files.json_file import JsonFile

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 20.0
WORKER_TIMEOUT_S = 5.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_VERSION = re.compile(r"^version: (.+)$", re.MULTILINE)
_BUILD = re.compile(r"build (\d+)|^(\d+)\b(?!\.)")
_LONG_FLAG = re.compile(r"--[a-z][a-z0-9-]*")
# "-c,    --ctx-size N      size of the context": names at the start of a line, then one space and a value, or none;
# what it is for stands further right.
_OPTION = re.compile(r" {0,2}(?P<names>-[^\s,]+(?:, *-[^\s,]+)*)(?: (?P<value>[^\s-]\S*))?")
_SEPARATOR = re.compile(r", *")
_OWN_FLAG = "--n-gpu-layers"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`devices` are lines of `--list-devices`; `build` is llama.cpp's own number, None where it has none. `switches`
    are the flags that take no value.
    """

    version: str | None
    build: int | None
    flags: frozenset[str]
    devices: tuple[str, ...]
    switches: frozenset[str] = frozenset()


class CapabilityCache:
    """Answers kept on disk. Version and flags hold for a file as it is, devices until the machine starts again.

    An engine without devices is asked for them each time: a driver may have come.
    """

    def __init__(self, file: Path) -> None:
        self._file = JsonFile(file)
        self._entries = {key: entry for key, entry in self._file.read().items() if _is_entry(entry)}

    def ask(self, command: Sequence[str], path: Path) -> Capabilities:
        """What the program that `path` holds can do, from here or from the program itself.

        Raises:
            LaunchdeckError: it does not start, does not answer, or is no llama-server.
        """
        stamp = ":".join(map(_stamp, (path, *_own_program(command))))
        entry = self._entries.get(str(path), {})
        if entry.get("stamp") != stamp or "switches" not in entry:  # older versions did not ask for these
            entry = {"stamp": stamp, **_version(command), **_options(command)}
        if not entry.get("devices") or entry["boot"] != _boot_id():
            entry |= {"devices": list_devices(command), "boot": _boot_id()}
            self._entries[str(path)] = entry
            self._file.write_if_possible(self._entries)
        flags, switches = frozenset(entry["flags"]), frozenset(entry["switches"])
        return Capabilities(entry["version"], entry["build"], flags, tuple(entry["devices"]), switches)


def _stamp(file: Path) -> str:
    """Raises OSError."""
    status = file.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _own_program(command: Sequence[str]) -> tuple[Path, ...]:
    """Our file in front of the package, where there is one: another Launchdeck may give it other flags."""
    return (EMBEDDED_PROGRAM,) if tuple(command[: len(EMBEDDED_COMMAND)]) == EMBEDDED_COMMAND else ()


def _is_entry(entry: object) -> bool:
    """Whether an entry of the file is one that `ask` has written."""
    if not isinstance(entry, dict):
        return False
    build, devices = entry.get("build"), entry.get("devices")
    words = (entry.get("stamp"), entry.get("boot"), entry.get("version") or "")
    lists = (entry.get("flags"), devices, entry.get("switches", []))
    return (
        all(isinstance(word, str) for word in words)
        and all(isinstance(items, list) and all(isinstance(item, str) for item in items) for items in lists)
        and (build is None or (type(build) is int and build >= 0))
        and {"version", "build"} <= entry.keys()
    )


def list_devices(command: Sequence[str], extra: Sequence[str] = (), timeout_s: float = ANSWER_TIMEOUT_S) -> list[str]:
    """The devices beside the CPU, one line each."""
    output = run_program([*command, *extra, "--list-devices"], timeout_s)
    return [line.strip() for line in output.splitlines() if Listed.of(line) is not None]


def worker_devices(command: Sequence[str], workers: Sequence[str]) -> list[str]:
    """The RPC workers that answer, one line each. Asked one by one: one that is away must not hide the others."""
    found = []
    for address in workers:
        try:
            lines = list_devices(command, ("--rpc", address), WORKER_TIMEOUT_S)
        except LaunchdeckError as error:
            logger.warning("RPC worker %s: %s", address, error)
            continue
        answers = [line for line in lines if line.startswith(f"RPC0: {address} ")]
        if not answers:
            logger.warning("RPC worker %s does not answer", address)
        found += answers
    return found


def _version(command: Sequence[str]) -> dict[str, Any]:
    match = _VERSION.search(run_program([*command, "--version"], ANSWER_TIMEOUT_S))
    version = match[1].strip() if match else None
    build = _BUILD.search(version or "")
    number = int(build[1] or build[2]) if build else 0
    return {"version": version, "build": number or None}


def _options(command: Sequence[str]) -> dict[str, list[str]]:
    """The long options of --help, and which of them are switches."""
    flags: set[str] = set()
    switches: set[str] = set()
    for line in run_program([*command, "--help"], ANSWER_TIMEOUT_S).splitlines():
        match = _OPTION.match(line)
        if match is None:
            continue
        names = {name for name in _SEPARATOR.split(match["names"]) if _LONG_FLAG.fullmatch(name)}
        flags |= names
        if match["value"] is None:
            switches |= names
    if _OWN_FLAG not in flags:
        raise LaunchdeckError.of(
            Cause.ENGINE_MISSING,
            Message("{program} is no llama-server: it knows no {flag}.", program=command[0], flag=_OWN_FLAG),
            Message("Name the llama-server program of llama.cpp in the settings."),
        )
    return {"flags": sorted(flags), "switches": sorted(switches)}


def run_program(command: Sequence[str], timeout_s: float) -> str:
    """All that the program says. It sees every GPU, and no options from our environment.

    Raises:
        LaunchdeckError: it cannot be started, takes too long, or fails.
    """
    environment = child_environment(os.environ, (), (*MASKS, *OPTION_VARIABLES))
    try:
        looking_at(command[0])  # what lies on a disk that is away is not even started, and no timeout ends that
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=timeout_s,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _unusable(command, Message("it does not answer within {seconds} s", seconds=timeout_s)) from None
    except OSError as error:
        raise _unusable(command, error.strerror or str(error)) from error
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines()
        raise _unusable(command, lines[-1] if lines else f"exit status {done.returncode}")
    return done.stdout


def _unusable(command: Sequence[str], reason: object) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.ENGINE_MISSING,
        Message("The engine {program} cannot be used: {reason}.", program=" ".join(command[:3]), reason=reason),
        Message("Check that it is a program that runs on this machine, or name another one in the settings."),
    )


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
