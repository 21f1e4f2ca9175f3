"""What the planner knows of a model: told where it cannot be used, and read again when it can."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes.gguf_models import llama
from fakes.samples import two_gpus
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.models.describe import inspect
from launchdeck.settings.schema import Settings


@pytest.fixture
def planner() -> Planner:
    planner = Planner(Settings)
    planner.inventory = two_gpus()
    engine = EngineInfo(EngineKind.LLAMA_SERVER, ("s",), Path("s"), "1", frozenset({GpuType.NVIDIA, GpuType.AMD}))
    planner.engines = (engine,)
    return planner


def test_what_cannot_be_read_is_told_at_once_and_read_again_when_it_can(tmp_path: Path, planner: Planner) -> None:
    path = tmp_path / "m.gguf"
    os.mkfifo(path)
    planner.prepare(path)
    assert planner.is_prepared(path)
    for _ in range(2):
        with pytest.raises(LaunchdeckError, match="not a file") as refusal:
            planner.preview(ModelLoadRequest(path), 8080)
        assert refusal.value.failure.cause is Cause.MODEL_UNUSABLE
    path.unlink()
    model = inspect(llama().write(path))
    planner.see_models((model,))
    assert not planner.is_prepared(path)
    planner.prepare(path)
    assert planner.preview(ModelLoadRequest(path), 8080) is not None


def test_a_model_that_is_well_stays_known(tmp_path: Path, planner: Planner) -> None:
    path = llama().write(tmp_path / "m.gguf")
    planner.prepare(path)
    planner.see_models((inspect(path),))
    assert planner.is_prepared(path)


@pytest.mark.expects_log_errors
def test_what_nobody_thought_of_is_told_as_the_models_fault_and_logged(
    tmp_path: Path, planner: Planner, caplog: pytest.LogCaptureFixture
) -> None:
    """Here it is an engine that is none."""
    path = llama().write(tmp_path / "m.gguf")
    planner.prepare(path)
    planner.engines = (None,)  # type: ignore[assignment]
    with pytest.raises(LaunchdeckError, match="contradicts itself"):
        planner.preview(ModelLoadRequest(path), 8080)
    assert [record.exc_info is not None for record in caplog.records] == [True]
