"""What is read out of llama-server's output. The logs are recordings of real starts and real failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from launchdeck.domain.deployment import Applied
from launchdeck.engines.adapter import Findings
from launchdeck.engines.llama.engine import LlamaEngine
from launchdeck.engines.llama.log import read_log_line

LOGS = Path(__file__).parents[3] / "data" / "logs"
MIB = 1024 * 1024
ADAPTER = LlamaEngine()


def lines_of(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines()


def read(*lines: str) -> Findings:
    findings = Findings()
    for line in lines:
        findings = ADAPTER.read_line(findings, line)
    return findings


@pytest.mark.parametrize("name", ["cpu", "embedded", "embedding", "two_rpc_workers", "quantised_cache"])
def test_a_whole_start_is_followed_to_its_end(name: str) -> None:
    seen: list[float] = []
    stages: list[str] = []
    findings = Findings()
    for line in lines_of(name):
        findings = ADAPTER.read_line(findings, line)
        if findings.progress is not None and findings.progress not in seen:
            seen.append(findings.progress)
        if findings.stage is not None and findings.stage not in stages:
            stages.append(findings.stage)
    assert findings.failure is None
    assert findings.progress == 1.0
    assert seen == sorted(seen)
    assert stages[0] == "weights"
    assert stages[-1] == "ready"
    assert (findings.applied.n_ctx, findings.applied.n_slots) == (2048, 4)
    assert findings.applied.flash_attention is True


def test_the_buffers_on_the_cpu() -> None:
    applied = read(*lines_of("cpu")).applied
    assert applied.device_bytes("CPU_Mapped", "weights") == round(92.10 * MIB)
    assert applied.device_bytes("CPU", "kv") == 45 * MIB
    assert applied.device_bytes("CPU", "compute") == round(15.51 * MIB)
    assert applied.devices == ()
    assert (applied.layers_offloaded, applied.layers_total) == (31, 31)  # it claims so; no buffer is on a GPU


def test_the_buffers_on_two_workers_are_told_apart() -> None:
    applied = read(*lines_of("two_rpc_workers")).applied
    first, second = "RPC0[127.0.0.1:18152]", "RPC0[127.0.0.1:18153]"
    assert (applied.layers_offloaded, applied.layers_total) == (20, 31)
    assert applied.devices == ("RPC1", "RPC0")
    assert applied.device_bytes(first, "weights") == round(37.14 * MIB)
    assert applied.device_bytes(second, "weights") == round(31.71 * MIB)
    assert applied.device_bytes(first, "kv") == 6 * MIB
    assert applied.device_bytes(second, "kv") == round(22.5 * MIB)


def test_a_cache_in_two_parts_is_added_up_and_a_compute_buffer_that_is_reserved_again_is_not() -> None:
    applied = read(
        "llama_kv_cache_iswa:      CUDA0 KV buffer size =    32.00 MiB",
        "llama_kv_cache_iswa:      CUDA0 KV buffer size =    12.50 MiB",
        "sched_reserve:      CUDA0 compute buffer size =   304.00 MiB",
        "sched_reserve:      CUDA0 compute buffer size =   311.00 MiB",
    ).applied
    assert applied.device_bytes("CUDA0", "kv") == round(44.5 * MIB)
    assert applied.device_bytes("CUDA0", "compute") == 311 * MIB


def test_the_states_of_a_recurrent_model_count_as_cache() -> None:
    applied = read("llama_memory_recurrent:      CUDA0 RS buffer size =     7.50 MiB").applied
    assert applied.device_bytes("CUDA0", "kv") == round(7.5 * MIB)


def test_devices_in_use() -> None:
    line = "llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 4090) (0000:01:00.0) - 23700 MiB free"
    assert read(line).applied.devices == ("CUDA0",)


def test_progress_counts_the_stages_of_the_server() -> None:
    line = (
        'cmd_child_to_router:state:{"state":"loading","payload":'
        '{"stages":["text_model","mmproj_model"],"current":"mmproj_model","value":0.5}}'
    )
    assert read(line).progress == pytest.approx(0.9 * 0.75)


@pytest.mark.parametrize(
    "rest",
    ["", "{", "[]", '{"state":"loading"}', '{"state":"loading","payload":{"stages":[],"current":"a","value":1}}'],
)
def test_a_progress_line_that_makes_no_sense_changes_nothing(rest: str) -> None:
    findings = Findings(progress=0.3)
    assert ADAPTER.read_line(findings, f"cmd_child_to_router:state:{rest}") is findings


def test_without_progress_lines_there_are_stages_and_no_invented_numbers() -> None:
    silent = [line for line in lines_of("cpu") if "cmd_child_to_router" not in line]
    before_end = [line for line in silent if "listening on" not in line]
    assert (read(*before_end).progress, read(*before_end).stage) == (None, "warmup")
    assert (read(*silent).progress, read(*silent).stage) == (1.0, "ready")


@pytest.mark.parametrize("line", ["", "srv  update_slots: all slots are idle", "\x1b[32mhello", "a buffer size = b"])
def test_a_line_that_says_nothing_gives_the_same_findings(line: str) -> None:
    findings = Findings(applied=Applied(n_ctx=5))
    assert ADAPTER.read_line(findings, line) is findings


def test_the_first_failure_counts() -> None:
    findings = read(*lines_of("not_gguf"))
    assert "invalid magic" in findings.failure.evidence[0]
    assert ADAPTER.read_line(findings, "unknown model architecture: 'x'") is findings


@pytest.mark.parametrize(
    ("line", "types"),
    [
        (
            "llama_kv_cache: size =   90.00 MiB (4096 cells, 30 layers), K (f16):   45.00 MiB, V (f16):   45.00 MiB",
            "f16 f16",
        ),
        ("I llama_kv_cache: size = 68.91 MiB ( 1 cells), K (q8_0): 23.91 MiB, V (f16): 45.00 MiB", "q8_0 f16"),
    ],
)
def test_the_types_of_the_cache(line: str, types: str) -> None:
    assert read_log_line(Findings(), line).applied.cache_types == tuple(types.split())


@pytest.mark.parametrize(
    ("told", "text", "address"),
    [
        ("NVIDIA GeForce RTX 4090) (0000:01:00.0", "NVIDIA GeForce RTX 4090", "0000:01:00.0"),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)) (0000:03:00.0", "AMD Radeon RX 7900 XTX (RADV NAVI31)", "0000:03:00.0"),
        ("127.0.0.1:18153) (unknown id", "127.0.0.1:18153", None),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090", None),  # as builds of 2025 and before
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "AMD Radeon RX 7900 XTX (RADV NAVI31)", None),
    ],
)
def test_where_a_device_sits(told: str, text: str, address: str | None) -> None:
    (device,) = read(f"llama_prepare_model_devices: using device Vulkan1 ({told}) - 23700 MiB free").applied.placed
    assert (device.name, device.text, device.pci_address) == ("Vulkan1", text, address)
    assert device.free_bytes == 23700 * MIB


@pytest.mark.parametrize(
    "lines",
    [
        ["srv    load_model: initializing, n_slots = 4, n_ctx_slot = 2048, kv_unified = 'false'"],
        [
            "srv          init: initializing slots, n_slots = 4",
            "slot init: id  0 | task -1 | new slot n_ctx_slot = 2048",
        ],
        ["slot   load_model: id  0 | task -1 | new slot, n_ctx = 2048", "initializing slots, n_slots = 4"],
    ],
)
@pytest.mark.parametrize("maker", ["llama_context", "llama_init_from_model", "llama_new_context_with_model"])
def test_what_a_slot_has_of_the_context(maker: str, lines: list[str]) -> None:
    applied = read(f"{maker}: n_ctx         = 8192", *lines).applied
    assert (applied.n_ctx, applied.n_slots, applied.n_ctx_slot) == (8192, 4, 2048)
