"""What is read out of vLLM's output.

The logs in `data/logs/vllm` are recordings of vLLM 0.32.0 on a CPU: real starts and real failures, without their list
of routes. The lines of GPUs are worded as vLLM's sources have them (0.11 to 0.33).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from launchdeck.domain.deployment import Exit
from launchdeck.domain.errors import Cause
from launchdeck.engines.adapter import Findings
from launchdeck.engines.vllm.engine import VllmEngine
from launchdeck.engines.vllm.log import worker_name

LOGS = Path(__file__).parents[3] / "data" / "logs" / "vllm"
GIB = 1 << 30
ADAPTER = VllmEngine()
TWO_GPUS = """
(APIServer pid=10) INFO 11-23 20:07:25 [api_utils.py:286] non-default args: {'model': '/models/big'}
(Worker_TP0 pid=30) INFO 11-23 20:07:40 [gpu_model_runner.py:5120] Starting to load model /models/big...
Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]
Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:02<00:02,  1.01s/it]
Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:04<00:00,  1.01s/it]
(Worker_TP0 pid=30) INFO 11-23 20:07:45 [gpu_model_runner.py:5150] Model loading took 7.51 GiB memory and 4.200000 seconds
(Worker_TP1 pid=31) INFO 11-23 20:07:45 [gpu_model_runner.py:5150] Model loading took 7.5 GiB memory and 4.300000 seconds
(Worker_TP0 pid=30) INFO 11-23 20:07:59 [monitor.py:20] torch.compile took 11.20 s in total
(Worker_TP0 pid=30) INFO 11-23 20:08:01 [gpu_worker.py:760] Available KV cache memory: 2.25 GiB
(Worker_TP1 pid=31) INFO 11-23 20:08:01 [gpu_worker.py:760] Available KV cache memory: 2.26 GiB
(EngineCore pid=20) INFO 11-23 20:08:01 [kv_cache_utils.py:2327] GPU KV cache size: 36,864 tokens, Maximum concurrency for 8,192 tokens per request: 4.50x
Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  50%|█████     | 2/4 [00:00<00:00, 20.00it/s]
(Worker_TP0 pid=30) INFO 11-23 20:08:02 [gpu_model_runner.py:6582] Graph capturing finished in 1 secs, took 0.12 GiB
(EngineCore pid=20) INFO 11-23 20:08:02 [core.py:402] init engine (profile, create kv cache, warmup model) took 16.00 s
INFO:     Application startup complete.
"""  # noqa: E501


def lines_of(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text(encoding="utf-8").splitlines()


def read(*lines: str) -> Findings:
    findings = Findings()
    for line in lines:
        findings = ADAPTER.read_line(findings, line)
    return findings


@pytest.mark.parametrize("lines", [lines_of("cpu"), lines_of("embedding"), TWO_GPUS.splitlines()])
def test_a_whole_start_is_followed_to_its_end(lines: list[str]) -> None:
    seen: list[float] = []
    stages: list[str] = []
    findings = Findings()
    for line in lines:
        findings = ADAPTER.read_line(findings, line)
        if findings.progress is not None and findings.progress not in seen:
            seen.append(findings.progress)
        if findings.stage is not None and findings.stage not in stages:
            stages.append(findings.stage)
    assert findings.failure is None
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) >= 5
    assert stages[0] == "weights"
    assert stages[-1] == "ready"


def test_what_was_applied_on_the_cpu() -> None:
    applied = read(*lines_of("cpu")).applied
    assert (applied.kv_tokens, applied.n_ctx, applied.max_concurrency) == (524_288, 1024, 512.0)
    assert applied.device_bytes("CPU", "kv") == GIB
    assert applied.devices == ()


def test_what_was_applied_on_two_gpus() -> None:
    applied = read(*TWO_GPUS.splitlines()).applied
    assert applied.devices == ("TP0", "TP1")
    assert applied.device_bytes("TP0", "weights") == round(7.51 * GIB)
    assert applied.device_bytes("TP1", "kv") == round(2.26 * GIB)
    assert (applied.kv_tokens, applied.n_ctx, applied.max_concurrency) == (36_864, 8192, 4.5)


def test_the_older_wording_in_two_lines() -> None:
    applied = read(
        "(EngineCore_DP0 pid=2) INFO [kv_cache_utils.py:864] GPU KV cache size: 77,824 tokens",
        "(EngineCore_DP0 pid=2) INFO [kv_cache_utils.py:868] Maximum concurrency for 4,096 tokens per request: 19.00x",
        "(EngineCore_DP0 pid=2) INFO [gpu_model_runner.py:2007] Model loading took 0.25 GiB and 1.2 seconds",
    ).applied
    assert (applied.kv_tokens, applied.n_ctx, applied.max_concurrency) == (77_824, 4096, 19.0)
    assert applied.device_bytes("GPU", "weights") == GIB // 4


@pytest.mark.parametrize(
    ("ranks", "sizes", "name", "prefix"),
    [
        ((0, 0), (1, 1), "GPU", "(EngineCore pid=1)"),
        ((1, 0), (2, 1), "TP1", "(Worker_TP1 pid=1)"),
        ((0, 1), (1, 2), "PP1", "(Worker_PP1 pid=1)"),
        ((1, 2), (2, 3), "PP2_TP1", "(Worker_PP2_TP1 pid=1)"),
        ((1, 0), (2, 1), "TP1", "(Worker_TP1_EP1 pid=1)"),
    ],
)
def test_workers_are_named_as_in_the_log(
    ranks: tuple[int, int], sizes: tuple[int, int], name: str, prefix: str
) -> None:
    assert worker_name(*ranks, *sizes) == name
    applied = read(f"{prefix} INFO [gpu_model_runner.py:1] Model loading took 1.0 GiB memory and 1.0 seconds").applied
    assert applied.devices == (name,)


def test_lines_of_a_running_server_say_nothing() -> None:
    ready = read(*lines_of("cpu"))
    for line in ("(APIServer pid=1) INFO: 127.0.0.1:5 - GET", "Avg generation throughput: 3.2 tokens/s", ""):
        assert ADAPTER.read_line(ready, line) is ready


def test_the_generic_line_is_no_cause() -> None:
    line = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    assert read(line).failure is None
    failure = ADAPTER.explain_exit(read(line), Exit(1, None), ["KeyError: 'x'", line])
    assert failure.cause is Cause.START_FAILED
    assert failure.evidence[0] == "KeyError: 'x'"
