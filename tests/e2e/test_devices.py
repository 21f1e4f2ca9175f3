"""`launchdeck plan --json` for every GPU of a machine: each is a device of its own, whatever their names are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fakes import llama_server
from fakes.gguf_models import llama
from fakes.machine import MIB, FakeMachine

RTX = "NVIDIA GeForce RTX 4090 (24564 MiB, 12000 MiB free)"
XTX = "AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 20000 MiB free)"


@pytest.fixture
def machine(tmp_path: Path, nvml_library: Path, rocm: Path, root_library: Path) -> FakeMachine:
    return FakeMachine(tmp_path, nvml_library, rocm, root_library)


def plans(machine: FakeMachine, folder: Path, devices: Sequence[str], *asked: str) -> list[dict[str, Any]]:
    """The plans of an engine that lists these devices for each of these choices of GPUs."""
    bin_folder = folder / "bin"
    bin_folder.mkdir(exist_ok=True)
    llama_server.install(bin_folder, devices=[(device, "unknown id") for device in devices])
    machine.environment["PATH"] = f"{bin_folder}:/usr/bin:/bin"
    model = llama(n_ctx=4096).write(folder / "m.gguf")
    return [json.loads(machine.run("plan", str(model), "--gpu", gpus, "--json")) for gpus in asked]


def devices_of(plan: dict[str, Any]) -> str:
    return str(plan["argv"][plan["argv"].index("--device") + 1])


def masks_of(plan: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in plan["env"].items() if name.endswith("_VISIBLE_DEVICES")}


def test_twins(machine: FakeMachine, tmp_path: Path) -> None:
    for bus in (1, 0x41):
        machine.add_nvidia(bus)
    found = plans(machine, tmp_path, [f"Vulkan{n}: {RTX}" for n in range(2)], "0", "1", "0,1", "1,0")
    assert [devices_of(plan) for plan in found] == ["Vulkan0", "Vulkan1", "Vulkan0,Vulkan1", "Vulkan1,Vulkan0"]
    assert all("assumed" in plan["warnings"][0] for plan in found)


def test_names_within_names(machine: FakeMachine, tmp_path: Path) -> None:
    names = ["NVIDIA GeForce RTX 4070 Ti", "NVIDIA GeForce RTX 4070", "NVIDIA GeForce RTX 4070 Ti SUPER"]
    for bus, name in enumerate(names, 1):
        machine.add_nvidia(bus, name=name, total=12282 * MIB, used=bus * 1000 * MIB)
    listed = [f"Vulkan{n}: {name} (12282 MiB, 9000 MiB free)" for n, name in enumerate(sorted(names))]
    found = plans(machine, tmp_path, listed, "0", "1", "2")
    assert [devices_of(plan) for plan in found] == ["Vulkan1", "Vulkan0", "Vulkan2"]
    free = [plan["estimate"]["devices"][0]["free_bytes"] for plan in found]
    assert free == sorted(free, reverse=True)
    assert all(plan["warnings"] == [] for plan in found)


def test_backends_with_masks_and_without(machine: FakeMachine, tmp_path: Path) -> None:
    """GPU 0 is AMD's: our list begins with its driver."""
    machine.add_amd(3)
    for bus in (1, 0x41):
        machine.add_nvidia(bus)
    cuda = [f"CUDA{n}: {RTX}" for n in range(2)]
    found = plans(machine, tmp_path, [*cuda, f"Vulkan0: {XTX}"], "0", "1", "0,2", "2,0,1")
    assert [devices_of(plan) for plan in found] == ["Vulkan0", "CUDA0", "Vulkan0,CUDA0", "CUDA0,Vulkan0,CUDA1"]
    first, second = (f"GPU-{bus:08x}-0000-0000-0000-000000000000" for bus in (1, 0x41))
    assert [masks_of(plan).get("CUDA_VISIBLE_DEVICES") for plan in found] == [None, first, second, f"{second},{first}"]


def test_cards_that_no_list_knows(machine: FakeMachine, tmp_path: Path) -> None:
    """Without AMD's library the kernel's files tell of them, and a driver that does not know their names either."""
    machine.environment["ROCM_PATH"] = str(tmp_path)
    machine.system.add_amd("0000:03:00.0", device="0x7551", mem_info_vram_total=32624 * MIB)
    machine.system.add_amd("0000:09:00.0", device="0x7590", mem_info_vram_total=16304 * MIB)
    lines = [
        "Vulkan0: AMD Radeon Graphics (RADV GFX1200) (16304 MiB, 16000 MiB free)",
        "Vulkan1: AMD Radeon Graphics (RADV GFX1201) (32624 MiB, 32000 MiB free)",
        "Vulkan2: llvmpipe (LLVM 17.0.6, 256 bits) (32624 MiB, 32000 MiB free)",
    ]
    found = plans(machine, tmp_path, lines, "0", "1")
    assert [devices_of(plan) for plan in found] == ["Vulkan1", "Vulkan0"]
    assert all(plan["warnings"] == [] for plan in found)
