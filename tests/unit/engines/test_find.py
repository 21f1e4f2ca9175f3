"""Which engines are found and what they say of themselves. The programs are real ones that act as a llama-server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineKind
from launchdeck.engines.find import FoundEngines, find_engines
from launchdeck.engines.llama.capabilities import CapabilityCache
from launchdeck.engines.llama.embedded import EMBEDDED_COMMAND, embedded_library
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

PROGRAM = """#!{python}
import os, sys
with open({log!r}, "a") as log:
    print(" ".join(sys.argv[1:]), file=log)
assert not any("VISIBLE_DEVICES" in name for name in os.environ) and "LLAMA_ARG_RPC" not in os.environ
words = sys.argv[1:]
if "--version" in words:
    print("version: 10605 (abcdef0)\\nbuilt with a compiler", file=sys.stderr)
elif "--help" in words:
    print("----- common params -----\\n")
    print("-ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers, see --not-a-flag")
    print("                                        - 0: the CPU, --nor-this")
    print("--rpc SERVERS                           comma-separated list")
elif "--rpc" in words:
    print("Available devices:\\n  RPC0: 127.0.0.1:50052 (8192 MiB, 4096 MiB free)")
else:
    print("Available devices:")
    for device in {devices!r}:
        print(f"  {{device}} (24080 MiB, 23000 MiB free)")
"""


class Machine:
    """A folder on PATH with programs in it, and the log of what they were asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.log = folder / "asked"
        monkeypatch.setenv("PATH", str(folder))

    def add(self, name: str = "llama-server", devices: tuple[str, ...] = (), text: str | None = None) -> Path:
        path = self.folder / name
        text = PROGRAM.format(python=sys.executable, log=str(self.log), devices=devices) if text is None else text
        path.write_text(text)
        path.chmod(0o755)
        return path

    def asked(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def find(**settings: object) -> FoundEngines:
    return find_engines(Settings(**settings), Paths.resolve())


VULKAN = ("Vulkan0: NVIDIA GeForce RTX 4090", "Vulkan1: AMD Radeon RX 7600", "Vulkan2: NVIDIA GeForce RTX 4090")


@pytest.mark.parametrize(
    ("mask", "hidden"),
    [(None, set()), ("1", {0, 2}), ("2,0", {1}), ("0 1 02", set()), ("", {0, 1, 2}), ("-1", {0, 1, 2}),
     ("0,x,1", {1, 2}), ("7", {0, 1, 2})],
)  # fmt: skip
def test_an_engine_for_vulkan_lists_all_devices_and_is_kept_off_the_masked_ones(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, mask: str | None, hidden: set[int]
) -> None:
    if mask is not None:
        monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", mask)
    machine.add(devices=VULKAN)
    engine = find().engines[0]
    assert [line.partition(" (")[0] for line in engine.devices] == list(VULKAN)
    assert engine.hidden_devices == {f"Vulkan{place}" for place in hidden}


def test_an_engine_tells_what_it_can(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("LLAMA_ARG_RPC", "nowhere:1")
    path = machine.add(devices=("CUDA0: NVIDIA GeForce RTX 4090", "Vulkan0: AMD Radeon RX 7600", "BLAS: OpenBLAS"))
    engine = find().engines[0]
    assert (engine.kind, engine.command, engine.path) == (EngineKind.LLAMA_SERVER, (str(path),), path)
    assert engine.id == f"llama-server:{path}"
    assert (engine.version, engine.build) == ("10605 (abcdef0)", 10605)
    assert engine.flags == {"--gpu-layers", "--n-gpu-layers", "--rpc"}
    assert engine.gpu_types == {GpuType.NVIDIA, GpuType.AMD}
    assert engine.supports_rpc


def test_the_one_of_the_settings_comes_first_and_the_embedded_last(machine: Machine) -> None:
    machine.add()
    named = machine.add("my-server")
    found = find(llama_server_path=str(named))
    assert [engine.command[0] for engine in found.engines[:2]] == [str(named), str(machine.folder / "llama-server")]
    assert found.engines[-1].kind is EngineKind.EMBEDDED
    assert found.problems == ()


def test_one_program_under_two_names_is_found_once(machine: Machine) -> None:
    path = machine.add()
    link = machine.folder / "link"
    link.symlink_to(path)
    assert len(find(llama_server_path=str(link)).engines) == 2


def imported_by_looking() -> str:
    """The modules of a fresh process that has looked for engines; this one may have imported anything before."""
    script = (
        "import sys; from launchdeck.engines.find import find_engines; from launchdeck.settings.paths import Paths;"
        "from launchdeck.settings.schema import Settings; find_engines(Settings(), Paths.resolve());"
        "print(*sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_embedded_engine_is_asked_in_a_process_of_its_own(machine: Machine) -> None:
    (engine,) = find().engines
    assert (engine.id, engine.command) == ("embedded", EMBEDDED_COMMAND)
    assert "xllamacpp" not in imported_by_looking()
    assert {"--n-gpu-layers", "--ctx-size", "--embeddings"} <= engine.flags
    assert engine.version.startswith("xllamacpp ")
    assert not engine.supports_rpc


def test_answers_are_kept_until_the_file_changes(machine: Machine) -> None:
    path = machine.add(devices=("CUDA0: X",))
    first = find()
    assert machine.asked() == ["--version", "--help", "--list-devices"]
    assert find() == first
    assert machine.asked() == []
    path.write_text(path.read_text() + "\n# another build\n")
    assert find().engines[0] == first.engines[0]
    assert machine.asked() == ["--version", "--help", "--list-devices"]


def test_an_engine_without_devices_is_asked_for_them_again(machine: Machine) -> None:
    machine.add()
    find()
    machine.asked()
    find()
    assert machine.asked() == ["--list-devices"]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"x"'])
def test_a_broken_cache_is_only_asked_again(machine: Machine, text: str) -> None:
    file = Paths.resolve().cache / "engines.json"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    machine.add()
    assert len(find().engines) == 2


def test_what_an_older_launchdeck_knew_of_the_embedded_engine_is_asked_anew(tmp_path: Path) -> None:
    """The package is the same, and our program in front of it has other flags."""
    library = embedded_library()
    assert library is not None
    status = library.stat()
    older = {"stamp": f"{status.st_size}:{status.st_mtime_ns}", "version": "1", "build": 1, "flags": ["--threads"]}
    file = tmp_path / "engines.json"
    file.write_text(json.dumps({str(library): {**older, "devices": ["D: d (1 MiB, 1 MiB free)"], "boot": ""}}))
    assert "--cache-ram" in CapabilityCache(file).ask(EMBEDDED_COMMAND, library).flags


def test_a_cache_that_cannot_be_written_is_survived(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = CapabilityCache(tmp_path / "file" / "engines.json")
    assert cache.ask(EMBEDDED_COMMAND, embedded_library()).flags


def test_workers_are_asked_through_an_engine_that_knows_them(machine: Machine) -> None:
    machine.add(devices=("CUDA0: X",))
    found = find(rpc_workers=("127.0.0.1:50052", "127.0.0.1:9"))
    assert found.engines[0].devices[1:] == ("RPC0: 127.0.0.1:50052 (8192 MiB, 4096 MiB free)",)
    assert not any(device.startswith("RPC") for device in found.engines[1].devices)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\necho hello\n", "no llama-server"),
        ("#!/bin/sh\necho 'cannot open libcuda.so.1' >&2; exit 127\n", "libcuda.so.1"),
        ("#!/no/such/interpreter\n", "No such file"),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
    ],
)
def test_a_program_that_cannot_be_used_is_a_problem_that_names_it(machine: Machine, text: str, words: str) -> None:
    path = machine.add(text=text)
    found = find()
    assert [engine.kind for engine in found.engines] == [EngineKind.EMBEDDED]
    (problem,) = found.problems
    assert words in str(problem)
    assert str(path) in str(problem)


def test_a_wrong_path_in_the_settings_is_a_problem_and_the_others_go_on(machine: Machine) -> None:
    machine.add()
    found = find(llama_server_path="/no/such/llama-server")
    assert len(found.engines) == 2
    assert "/no/such/llama-server" in str(found.problems[0])
