"""Builds of llama.cpp that divide the context by the slots, and whose flash attention is a switch without a value."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from fakes.gguf_models import llama
from fakes.samples import two_gpus
from launchdeck.domain.plan import LaunchPlan
from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.engines.find import find_engines
from launchdeck.engines.plan import PlanningContext, plan_launch
from launchdeck.files.json_file import JsonFile
from launchdeck.models.describe import describe
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import MemoryModel
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

OLD_HELP = """----- common params -----

-h,    --help, --usage                  print usage and exit
-c,    --ctx-size N                     size of the prompt context (default: 4096)
-b,    --batch-size N                   logical maximum batch size (default: 2048)
-fa,   --flash-attn                     enable Flash Attention (default: disabled)
-ctk,  --cache-type-k TYPE              KV cache data type for K
-ctv,  --cache-type-v TYPE              KV cache data type for V
-dev,  --device <dev1,dev2,..>          comma-separated list of devices
-ngl,  --gpu-layers, --n-gpu-layers N   number of layers to store in VRAM
-np,   --parallel N                     number of parallel sequences to decode (default: 1)
--metrics                               enable prometheus endpoint
"""
NEW_HELP = OLD_HELP.replace("-fa,   --flash-attn           ", "-fa,   --flash-attn [on|off|auto]") + (
    "-kvu,  --kv-unified, -no-kvu, --no-kv-unified\n"
    "                                        use single unified KV buffer shared across all sequences\n"
)
DEVICE = "CUDA0: NVIDIA GeForce RTX 4090 (24576 MiB, 22000 MiB free)"


def program(folder: Path, help_text: str) -> Path:
    path = folder / "llama-server"
    answers = {
        "--help": help_text,
        "--list-devices": f"Available devices:\n  {DEVICE}",
        "--version": "version: 4800 (x)",
    }
    path.write_text(f"#!{sys.executable}\nimport sys\nprint({answers!r}[sys.argv[1]])\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def plan_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PATH", str(tmp_path))
    model = llama(n_embd=256, n_head=4, n_head_kv=4, n_ctx=32768).write(tmp_path / "m.gguf")

    def plan_of(help_text: str = OLD_HELP, **request: Any) -> LaunchPlan:
        path = program(tmp_path, help_text)
        engines = find_engines(Settings(llama_server_path=str(path)), Paths.resolve()).engines[:1]
        header = read_header(model)
        context = PlanningContext(two_gpus(), engines, Settings(), describe(header), MemoryModel.of(header))
        return plan_launch(ModelLoadRequest(model, gpu_uuids=("GPU-0",), **request), context, 8001)

    return plan_of


def option(plan: LaunchPlan, name: str) -> str | None:
    return dict(zip(plan.argv, plan.argv[1:], strict=False)).get(name)


def test_one_request_can_use_the_whole_context_and_that_there_are_fewer_slots_is_told(plan_of: Any) -> None:
    plan = plan_of(n_ctx=8192, n_parallel=4)
    assert (option(plan, "--ctx-size"), option(plan, "--parallel"), plan.n_slots) == ("8192", "1", 1)
    assert "answers 1 at a time and not 4" in " ".join(map(str, plan.warnings))
    assert plan.request.n_parallel == 4
    alone = plan_of(n_ctx=8192, n_parallel=1)
    assert (option(alone, "--parallel"), alone.warnings) == ("1", ())
    assert plan.estimate == alone.estimate


def test_slots_that_cost_no_request_its_length_are_kept(plan_of: Any) -> None:
    """A request is never longer than the model was made for."""
    plan = plan_of(n_ctx=4 * 32768, n_parallel=4)
    assert (option(plan, "--parallel"), plan.warnings) == ("4", ())
    plan = plan_of(n_ctx=2 * 32768, n_parallel=4)
    assert option(plan, "--parallel") == "2"


def test_a_build_that_shares_its_context_keeps_its_slots(plan_of: Any) -> None:
    plan = plan_of(NEW_HELP, n_ctx=8192, n_parallel=4)
    assert (option(plan, "--parallel"), plan.warnings) == ("4", ())
    assert "--kv-unified" in plan.argv


@pytest.mark.parametrize("asked", list(FlashAttention))
def test_a_switch_gets_no_value(plan_of: Any, asked: FlashAttention) -> None:
    plan = plan_of(flash_attention=asked, n_parallel=1)
    is_on = asked is FlashAttention.ON
    assert ("--flash-attn" in plan.argv) is is_on
    assert not {"on", "off", "auto"} & set(plan.argv)
    assert plan.flash_attention is is_on
    assert plan.request.flash_attention is asked
    assert plan.warnings == ()
    new = plan_of(NEW_HELP, flash_attention=asked)
    assert option(new, "--flash-attn") == (None if asked is FlashAttention.AUTO else str(asked))


def test_a_cache_that_needs_flash_attention_has_it_switched_on(plan_of: Any) -> None:
    plan = plan_of(cache_type_k="q8_0", cache_type_v="q8_0", n_parallel=1)
    assert plan.argv[plan.argv.index("--flash-attn") :][:2] == ("--flash-attn", "--cache-type-k") or (
        plan.argv[-1] == "--flash-attn"
    )
    assert plan.flash_attention is True
    assert plan.warnings == ()
    assert "--flash-attn" not in plan_of(NEW_HELP, cache_type_k="q8_0", cache_type_v="q8_0").argv


def test_what_an_older_version_remembers_of_an_engine_is_asked_again(plan_of: Any) -> None:
    """It did not ask which options take a value."""
    plan_of()
    file = JsonFile(Paths.resolve().cache / "engines.json")
    entries = file.read()
    for entry in entries.values():
        del entry["switches"]
    file.write(entries)
    assert "--flash-attn" in plan_of().engine.switches
    assert {"--flash-attn", "--metrics"} <= set(next(iter(file.read().values()))["switches"])
