"""`launchdeck gpus` on machines of all kinds: what it prints is what their drivers were told."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from fakes.machine import GIB, MIB, FakeMachine

NOT_SUPPORTED, UNEXPECTED_DATA = 3, 43
GB10 = {"name": "NVIDIA GB10", "total": 0, "used": 0, "reserved": 0}
APU = {"name": "AMD Radeon 8060S", "vram_total": 512 * MIB, "vram_used": 211 * MIB, "gtt_total": 8 * GIB}
NO_READINGS = ("utilization_percent", "temperature_c", "power_watts", "graphics_clock_mhz", "memory_clock_mhz")


@pytest.fixture
def machine(tmp_path: Path, nvml_library: Path, rocm: Path, root_library: Path) -> FakeMachine:
    """A machine without a graphics card, but with both drivers."""
    return FakeMachine(tmp_path, nvml_library, rocm, root_library)


def assert_shows(document: dict[str, Any], detector: str, entries: list[dict[str, Any]]) -> None:
    """Exactly these GPUs, in this order, with these values."""
    assert (document["detector"], document["total"], document["replay"]) == (detector, len(entries), False)
    shown = document["gpus"]
    assert [gpu["index"] for gpu in shown] == list(range(len(entries)))
    assert [{key: gpu[key] for key in entry} for gpu, entry in zip(shown, entries, strict=True)] == entries


def steps(document: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {step["detector"]: (step["outcome"], step["reason"]) for step in document["detection"]}


def test_none(machine: FakeMachine):
    document = machine.gpus()
    (cpu,) = document["gpus"]
    assert (document["detector"], cpu["gpu_type"], cpu["index"]) == ("CPUDetector", "cpu", 0)
    assert cpu["total_memory_mb"] == psutil.virtual_memory().total // MIB
    assert isinstance(cpu["utilization_percent"], int)
    assert (cpu["temperature_c"], cpu["power_watts"]) == (None, None)


def test_no_driver_at_all(machine: FakeMachine, tmp_path: Path):
    machine.environment |= {"LD_LIBRARY_PATH": "", "ROCM_PATH": str(tmp_path), "LD_PRELOAD": ""}
    document = machine.gpus()
    assert document["detector"] == "CPUDetector"
    assert steps(document)["NVMLDetector"] == ("not_installed", "No NVIDIA driver is installed.")
    assert steps(document)["AMDSMIDetector"][0] == "not_installed"


def test_one_nvidia(machine: FakeMachine):
    entry = machine.add_nvidia(1)
    document = machine.gpus()
    assert_shows(document, "NVMLDetector", [entry])
    assert steps(document)["NVMLDetector"] == ("found", None)


def test_eight_nvidia_of_80_gib(machine: FakeMachine):
    h100 = {"name": "NVIDIA H100 80GB HBM3", "total": 81_559 * MIB, "limit": 700_000}
    entries = [machine.add_nvidia(bus, used=(70_001 + bus) * MIB, util=bus, **h100) for bus in range(1, 9)]
    assert_shows(machine.gpus(), "NVMLDetector", entries)


def test_one_amd(machine: FakeMachine):
    entry = machine.add_amd(3)
    assert_shows(machine.gpus(), "AMDSMIDetector", [entry])


def test_an_amd_apu_has_the_ram_that_it_may_use(machine: FakeMachine):
    entry = machine.add_amd(12, **APU, gtt_used=8 * GIB - 64 * MIB, files={"gpu_metrics": "\x60\0\2\3"})
    entry |= {
        "integrated": True,
        "total_memory_mb": 512 + 8192,
        "used_memory_mb": 211 + 8192 - 64,
        "free_memory_mb": 512 - 211 + 64,
    }
    assert_shows(machine.gpus(), "AMDSMIDetector", [entry])


def test_an_integrated_amd_gpu_beside_an_nvidia_card(machine: FakeMachine):
    integrated = machine.add_amd(12, files={"gpu_metrics": "\x60\0\2\3"}, name="AMD Radeon 610M")
    card = machine.add_nvidia(1)
    document = machine.gpus()
    assert [gpu["name"] for gpu in document["gpus"]] == [card["name"], integrated["name"]]
    assert {key: document["gpus"][0][key] for key in card} == card
    assert (document["gpus"][1]["integrated"], document["gpus"][1]["temperature_c"]) == (True, 52)


def test_two_of_both_vendors(machine: FakeMachine):
    amd = [machine.add_amd(bus, util=bus) for bus in (3, 4)]
    nvidia = [machine.add_nvidia(bus, util=bus) for bus in (1, 2)]
    assert_shows(machine.gpus(), "AMDSMIDetector+NVMLDetector", amd + nvidia)


def test_a_gpu_in_mig_mode_has_no_utilization(machine: FakeMachine):
    processes = f"4000001:{5 * GIB},4000001:{GIB},4000002:{2 * GIB}"
    entry = machine.add_nvidia(1, **{"error.Utilization": NOT_SUPPORTED}, compute=processes)
    entry |= {
        "utilization_percent": None,
        "processes": [
            {"pid": 4000001, "name": "", "used_memory_mb": 6144},
            {"pid": 4000002, "name": "", "used_memory_mb": 2048},
        ],
    }
    assert_shows(machine.gpus(), "NVMLDetector", [entry])


@pytest.mark.parametrize("values", [{}, {"error.Memory": NOT_SUPPORTED}])
def test_unified_memory_is_the_ram(machine: FakeMachine, values: dict[str, Any]):
    entry = machine.add_nvidia(1, **GB10, **values)
    for name in ("total_memory_mb", "used_memory_mb", "free_memory_mb", "integrated"):
        del entry[name]
    document = machine.gpus()
    assert_shows(document, "NVMLDetector", [entry])
    (gpu,) = document["gpus"]
    assert (gpu["integrated"], gpu["total_memory_mb"]) == (True, psutil.virtual_memory().total // MIB)
    assert gpu["used_memory_mb"] + gpu["free_memory_mb"] == pytest.approx(gpu["total_memory_mb"], abs=1)


def test_an_amdsmi_that_fails_is_told_and_the_kernel_stands_in(machine: FakeMachine):
    machine.add_amd(3)
    machine.amdsmi.set(init=UNEXPECTED_DATA)
    card = machine.add_nvidia(1)
    document = machine.gpus()
    assert document["detector"] == "AMDGPUSysfsDetector+NVMLDetector"
    radeon, geforce = document["gpus"]
    assert (radeon["total_memory_mb"], radeon["used_memory_mb"], radeon["utilization_percent"]) == (24576, 3072, 17)
    assert {key: geforce[key] for key in card} == card
    outcome, reason = steps(document)["AMDSMIDetector"]
    assert outcome == "failed"
    assert "does not answer" in reason


def test_an_amdsmi_without_a_reading_is_filled_up_by_the_kernel(machine: FakeMachine):
    entry = machine.add_amd(3, **{"error.Activity": UNEXPECTED_DATA}, files={"gpu_busy_percent": 71})
    assert_shows(machine.gpus(), "AMDSMIDetector", [entry | {"utilization_percent": 71}])


def test_everything_that_is_not_available_is_null(machine: FakeMachine):
    nothing = dict.fromkeys(("gpu_busy_percent", "gpu_metrics", "mem_info_vram_used"))
    sensors = ("temp1_input", "power1_average", "freq1_label", "freq2_label", "pwm1")
    nothing |= {f"hwmon__hwmon4__{sensor}": None for sensor in sensors}
    calls = ("Activity", "Power", "PowerCap", "Temperature", "Clock", "Fan", "MemoryUsage", "Processes")
    radeon = machine.add_amd(3, files=nothing, **{f"error.{call}": UNEXPECTED_DATA for call in calls})
    calls = ("Utilization", "Temperature", "Power", "PowerLimit", "Clock", "Fan", "Memory", "Compute", "Graphics")
    geforce = machine.add_nvidia(1, **{f"error.{call}": 999 for call in calls})
    unknown = dict.fromkeys((*NO_READINGS, "power_limit_watts", "fan_percent", "used_memory_mb", "free_memory_mb"))
    unknown |= {"total_memory_mb": None, "processes": []}
    assert_shows(machine.gpus(), "AMDSMIDetector+NVMLDetector", [radeon | unknown, geforce | unknown])


def test_a_card_of_a_virtual_machine_is_told_and_not_listed(machine: FakeMachine):
    entry = machine.add_nvidia(1)
    machine.system.remove_card("0000:01:00.0")
    machine.system.add_card("0000:01:00.0", driver="nvidia")
    machine.system.add_card("0000:41:00.0", driver="vfio-pci", status="suspended")
    document = machine.gpus()
    assert_shows(document, "NVMLDetector", [entry])
    told = "0000:41:00.0 is reserved for a virtual machine (vfio-pci)."
    assert steps(document)["NVMLDetector"] == ("found", told)
    assert told in machine.run("gpus").splitlines()


def test_a_divided_card_is_its_slices(machine: FakeMachine):
    machine.add_nvidia(1)
    first, second = machine.add_nvidia(2, name="NVIDIA A100-SXM4-80GB"), machine.add_nvidia(3)
    machine.nvml.add_slice(1, 0)
    machine.nvml.add_slice(1, 3)
    machine.nvml.set(**{"2.mig": 1})
    document = machine.gpus()
    assert [gpu["slice_of"] for gpu in document["gpus"]] == [None, first["uuid"], first["uuid"], None]
    assert [gpu["total_memory_mb"] for gpu in document["gpus"][1:3]] == [9728, 9728]
    assert document["gpus"][3]["uuid"] == second["uuid"]
    assert "divided into slices" in document["gpus"][3]["problem"]
    assert f"GPU 3: {document['gpus'][3]['problem']}" in machine.run("gpus").splitlines()


def test_what_a_library_prints_is_not_in_the_document(machine: FakeMachine):
    entry = machine.add_nvidia(1)
    machine.nvml.set(noise="NVRM: something")
    assert_shows(machine.gpus(), "NVMLDetector", [entry])


def test_one_gpu_of_two_that_hangs_costs_the_other_nothing(machine: FakeMachine):
    first, second = machine.add_nvidia(1), machine.add_nvidia(2)
    machine.nvml.set(**{"0.delay_ms.Temperature": 30_000})
    stalled, running = machine.gpus()["gpus"]
    assert (stalled["name"], stalled["state"], stalled["used_memory_mb"]) == (first["name"], "lost", None)
    assert {key: running[key] for key in second} == second


def test_nobody_who_stops_reading_is_complained_to(machine: FakeMachine):
    machine.add_nvidia(1)
    for arguments in ("gpus --json", "gpus", "gpus --watch", "gpus --watch --json"):
        command = f"{sys.executable} -m launchdeck {arguments} | head -c 1"
        environment = os.environ | machine.environment
        (Path(os.environ["LAUNCHDECK_HOME"]) / "config").mkdir(exist_ok=True)
        (Path(os.environ["LAUNCHDECK_HOME"]) / "config/settings.toml").write_text("sampling_interval_s = 1.0\n")
        result = subprocess.run(command, shell=True, env=environment, capture_output=True, timeout=60, check=True)
        assert (len(result.stdout), result.stderr) == (1, b"")


def test_names_in_korean(machine: FakeMachine):
    amd, nvidia = machine.add_amd(3, name="라데온 RX 7900"), machine.add_nvidia(1, name="지포스 RTX 4090 한국판")
    assert_shows(machine.gpus(), "AMDSMIDetector+NVMLDetector", [amd, nvidia])
    lines = machine.run("gpus").splitlines()
    assert lines[1].startswith("0    라데온 RX 7900          ")  # Hangul is two columns wide
    assert lines[2].startswith("1    지포스 RTX 4090 한국판  ")


def test_the_table(machine: FakeMachine):
    machine.add_nvidia(1, **{"error.Fan": NOT_SUPPORTED})
    header, gpu, cpu, legend, source = machine.run("gpus").splitlines()
    assert header.split() == [
        "GPU", "Name", "Used", "MiB", "Total", "MiB", "Use", "Temp", "Power", "Clock", "Fan", "State"
    ]  # fmt: skip
    assert gpu.split("  ", 2)[0].strip() == "0"
    # how wide a column is depends on the CPU's load
    assert " ".join(gpu.split()).endswith("11673 24564 43 % 61 °C 210 / 450 W 2520 MHz -")
    assert cpu.startswith("CPU")
    assert (legend, source) == ("-: not measurable", "detected by NVMLDetector (driver 580.95.05)")


def test_a_recorded_machine_is_marked_wherever_it_is_shown(machine: FakeMachine, tmp_path: Path):
    machine.add_amd(3)
    recorded = machine.gpus()
    file = tmp_path / "recorded.json"
    file.write_text(json.dumps(recorded), encoding="utf-8")
    machine.amdsmi.set(count=0)
    replayed = machine.gpus("--inventory", str(file))
    assert replayed["gpus"] == recorded["gpus"]
    assert replayed["replay"] is True
    assert "REPLAY" in machine.run("gpus", "--inventory", str(file))


def test_watching_draws_the_table_in_place(machine: FakeMachine):
    machine.add_nvidia(1)
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "launchdeck", "gpus", "--watch"]
    environment = os.environ | machine.environment
    with subprocess.Popen(command, env=environment, stdin=terminal, stdout=terminal, stderr=terminal) as watch:
        os.close(terminal)
        drawn = ""
        while "detected by" not in drawn:
            drawn += os.read(keyboard, 65536).decode()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(20) == 0
    os.close(keyboard)
    assert drawn.startswith("\x1b[H\x1b[2JGPU  Name")
    assert "11673" in drawn


def test_watching_prints_a_document_a_line_until_ctrl_c(machine: FakeMachine, launchdeck_home: Path):
    machine.add_nvidia(1)
    (launchdeck_home / "config").mkdir()
    (launchdeck_home / "config/settings.toml").write_text("sampling_interval_s = 1.0\n")
    command = [sys.executable, "-m", "launchdeck", "gpus", "--watch", "--json"]
    environment = os.environ | machine.environment | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        machine.nvml.set(**{"0.util": 99})
        second = json.loads(watch.stdout.readline())
        watch.send_signal(signal.SIGINT)
        assert (watch.wait(20), watch.stderr.read()) == (0, "")
    assert [document["gpus"][0]["utilization_percent"] for document in (first, second)] == [43, 99]
