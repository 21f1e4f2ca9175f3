"""Whatever a model's header says, a launch is planned or refused in words: nothing is raised that nobody thought of."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from fakes.gguf_models import bert, llama
from fakes.gguf_mutations import mutated
from fakes.gguf_recurrent import falcon_h1, lfm2, mamba, nemotron_h, qwen3next
from fakes.gguf_writer import Gguf
from fakes.gguf_zoo import deepseek2, every_architecture, gemma3n, gemma4
from fakes.samples import two_gpus
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind, LaunchPlan
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.models.describe import inspect
from launchdeck.settings.schema import Settings

PORT = 8080
INPUTS = 300
LONGEST_S = 2.0
SMALL_ENOUGH = 400  # tensors: a header of more takes longer to write than to read


def planner() -> Planner:
    settings = Settings()
    planner = Planner(lambda: settings)
    planner.inventory = two_gpus()
    vendors = frozenset({GpuType.NVIDIA, GpuType.AMD})
    planner.engines = (EngineInfo(EngineKind.LLAMA_SERVER, ("llama-server",), Path("llama-server"), "1", vendors),)
    return planner


def plan_or_refusal(planner: Planner, path: Path) -> LaunchPlan | LaunchdeckError:
    server_types = inspect(path).server_types
    request = ModelLoadRequest(path, server_types[0]) if server_types else ModelLoadRequest(path)
    try:
        return planner.plan(request, PORT)
    except LaunchdeckError as refusal:
        return refusal


def without(model: Gguf, part: str, layer: int) -> Gguf:
    name = f"blk.{layer}.{part}.weight"
    return replace(model, tensors=tuple(tensor for tensor in model.tensors if tensor.name != name))


def flattened(model: Gguf, part: str) -> Gguf:
    """With these weights as one row."""
    return replace(
        model,
        tensors=tuple(
            replace(t, shape=(t.shape[0] * t.shape[1],)) if t.name.endswith(f".{part}.weight") else t
            for t in model.tensors
        ),
    )


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: flattened(mamba(), "ssm_conv1d"), "ssm_conv1d.weight cannot have this shape"),
        (lambda: flattened(qwen3next(), "ssm_conv1d"), "ssm_conv1d.weight cannot have this shape"),
        (lambda: flattened(lfm2(), "shortconv.conv"), "shortconv.conv.weight cannot have this shape"),
        (lambda: flattened(nemotron_h(), "ssm_in"), "ssm_in.weight cannot have this shape"),
        (lambda: without(falcon_h1(), "attn_output", 5), "its layers do not fit together"),
        (lambda: without(nemotron_h(), "ffn_down", 1), "lacks its weights"),
    ],
)  # fmt: skip
def test_a_layer_that_cannot_be_is_told(tmp_path: Path, model: Callable[[], Gguf], words: str) -> None:
    refusal = plan_or_refusal(planner(), model().write(tmp_path / "m.gguf"))
    assert isinstance(refusal, LaunchdeckError)
    assert refusal.failure.cause is Cause.MODEL_UNUSABLE
    assert words in str(refusal)


@pytest.mark.parametrize("part", ["attn_output", "ffn_down", "attn_q", "attn_norm"])
@pytest.mark.parametrize("model", [llama, bert, lfm2, gemma4, gemma3n, deepseek2, falcon_h1, qwen3next, nemotron_h])
def test_a_layer_without_a_matrix_is_planned_or_told(tmp_path: Path, model: Callable[[], Gguf], part: str) -> None:
    plan_or_refusal(planner(), without(model(), part, 2).write(tmp_path / "m.gguf"))


def test_any_header(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """The same ones each time. An error in the log, which is what the last resort leaves, fails the test as well."""
    random = Random(12)
    zoo = [(name, model) for name, model in every_architecture() if len(model.tensors) < SMALL_ENOUGH]
    asked, planned, refused, longest_s = planner(), 0, 0, 0.0
    while planned + refused < INPUTS:
        name, model = random.choice(zoo)
        try:
            path = mutated(model, random).write(tmp_path / "m.gguf")
        except (struct.error, OSError):  # the writer of this has its limits as well
            continue
        begin_s = time.monotonic()
        outcome = plan_or_refusal(asked, path)
        longest_s = max(longest_s, time.monotonic() - begin_s)
        if isinstance(outcome, LaunchPlan):
            planned += 1
            assert min(device.total_bytes for device in (*outcome.estimate.devices, outcome.estimate.host)) >= 0, name
        else:
            refused += 1
            assert outcome.failure.cause in {Cause.MODEL_UNUSABLE, Cause.BAD_REQUEST, Cause.OUT_OF_MEMORY}, outcome
    assert longest_s < LONGEST_S
    told = f"headers: {INPUTS} inputs, {planned} planned, {refused} refused in words, the slowest {longest_s:.3f} s"
    record_property("fuzzed", told)
