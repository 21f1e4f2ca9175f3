"""The fixture `truth`: a build of llama.cpp that tests ask what it says, whether it is on this machine or not."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import MemoryModel
from truth.engine import VERSIONS, Memory, Sizes, ask_memory, build_of, engine_folders, memory_options
from truth.recording import Recording, path_of, question

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from launchdeck.planning.llama.estimate import Load

# Builds whose compute buffers the estimate does not follow to the byte yet.
WITH_KNOWN_DIFFERENCES = frozenset({"b11434"})
HOW_TO_RECORD = "where the engines of both builds are: python tests/truth/record.py FOLDER FOLDER"


@contextmanager
def every_build() -> Iterator[dict[str, Truth]]:
    """Yield what each build says.

    Where LAUNCHDECK_RECORD_TRUTH names a folder, all that is asked of the builds that are there is written into it,
    besides what is there already.
    """
    folders = {build_of(folder): folder for folder in reversed(engine_folders())}
    record = os.environ.get("LAUNCHDECK_RECORD_TRUTH")
    kind = Recorder if record else Truth
    builds = {build: kind(build, Recording.of(path_of(build, record)), folders.get(build)) for build in VERSIONS}
    yield builds
    if record:
        for build in builds.keys() & folders.keys():
            builds[build].recording.write(path_of(build, record))


class Truth:
    """Answers from what was recorded of a build; where the build itself is there it is asked too, and has to agree."""

    def __init__(self, build: str, recording: Recording, folder: Path | None = None) -> None:
        self.build = build
        self.recording = recording
        self._folder = folder

    def memory(self, model: Path, load: Load, layers: Iterable[int]) -> dict[int, Memory]:
        """Return the engine's accounting for each number of layers but those that it refuses.

        `load.n_gpu_layers` is not looked at.
        """
        options, numbers = memory_options(load), list(layers)

        def ask(folder: Path) -> dict[str, Any]:
            said = ask_memory(folder, model, options, numbers)
            return {str(number): _flat(said[number]) if number in said else None for number in numbers}

        said = self._answers(question(model, "memory", *options), map(str, numbers), ask)
        return {int(number): _memory(sizes) for number, sizes in said.items() if sizes is not None}

    def expected(self, model: Path, load: Load, layers: Iterable[int]) -> dict[int, Memory]:
        """Return what the estimate has to be to the byte: the engine's accounting, and what it is known to be off by.

        Weights and caches have no known differences.
        """
        said = self.memory(model, load, layers)
        known = self._known(question(model, "memory", *memory_options(load)), model, load, said)
        return {number: _shifted(memory, known.get(str(number))) for number, memory in said.items()}

    def says(self, model: Path, words: Iterable[str], ask: Callable[[Path], Any]) -> Any:
        """Return what a program answers about a model, as JSON has it; `ask` runs it from a folder with engines."""
        key = question(model, *words)
        return self._answers(key, [""], lambda folder: {"": json.loads(json.dumps(ask(folder)))})[""]

    def _answers(self, key: str, parts: Iterable[str], ask: Callable[[Path], dict[str, Any]]) -> Mapping[str, Any]:
        wanted = list(parts)
        recorded = self.recording.answers.get(key, {})
        missing = [part for part in wanted if part not in recorded]
        assert not missing, f"No answer of {self.build} is recorded for {key} {missing}. Record it, {HOW_TO_RECORD}"
        answers = {part: recorded[part] for part in wanted}
        if self._folder is not None:
            self._compare(key, answers, ask(self._folder))
        return answers

    def _compare(self, key: str, recorded: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        """Fail where the engine says something else than what is recorded.

        Parts without an answer on either side are passed over: the first version of `llama-memory-truth` ends at
        recurrent states or not, by the address that it is given.
        """
        other = {part: value for part, value in said.items() if None not in (value, recorded[part])}
        other = {part: value for part, value in other.items() if value != recorded[part]}
        assert not other, f"{self.build} says something else than what is recorded for {key}: {other}"

    def _known(self, key: str, model: Path, load: Load, said: Mapping[int, Memory]) -> Mapping[str, list[int]]:
        del model, load, said
        return self.recording.known.get(key, {})


class Recorder(Truth):
    """Keeps all that is asked."""

    def _answers(self, key: str, parts: Iterable[str], ask: Callable[[Path], dict[str, Any]]) -> Mapping[str, Any]:
        del parts
        assert self._folder is not None
        said = ask(self._folder)
        self.recording.answers.setdefault(key, {}).update(said)
        return said

    def _known(self, key: str, model: Path, load: Load, said: Mapping[int, Memory]) -> Mapping[str, list[int]]:
        if self.build not in WITH_KNOWN_DIFFERENCES:
            return {}
        memory = MemoryModel.of(read_header(model))
        for number, true in said.items():
            estimate = memory.estimate(replace(load, n_gpu_layers=number))
            ours = [device.compute_bytes for device in (*estimate.devices, estimate.host)]
            differences = [mine - their.compute for mine, their in zip(ours, true.devices, strict=True)]
            if any(differences):
                self.recording.known.setdefault(key, {})[str(number)] = differences
        return self.recording.known.get(key, {})


def _flat(memory: Memory) -> list[int]:
    return [size for device in memory.devices for size in (device.weights, device.kv, device.compute)]


def _memory(sizes: list[int]) -> Memory:
    *gpus, host = (Sizes(*sizes[place : place + 3]) for place in range(0, len(sizes), 3))
    return Memory(tuple(gpus), host)


def _shifted(memory: Memory, differences: list[int] | None) -> Memory:
    if differences is None:
        return memory
    *gpus, host = (
        replace(device, compute=device.compute + difference)
        for device, difference in zip(memory.devices, differences, strict=True)
    )
    return Memory(tuple(gpus), host)
