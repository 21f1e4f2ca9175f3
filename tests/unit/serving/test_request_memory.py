"""Remembered requests and presets."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.model import ServerType
from launchdeck.domain.request import EVEN_SPLIT, FlashAttention, ModelLoadRequest
from launchdeck.serving.requests.request_memory import MOST_MODELS, RequestMemory

REQUEST = ModelLoadRequest(
    Path("/models/a.gguf"), ServerType.EMBEDDING, gpu_uuids=("GPU-0", "GPU-1"), n_gpu_layers=12,
    split=(3.0, 1.0), n_cpu_moe=2,
    flash_attention=FlashAttention.ON, extra_args=("--temp", "0.5"),
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "requests.json"


def test_the_last_request_of_each_model_outlives_the_application(file: Path) -> None:
    memory = RequestMemory(file)
    assert memory.last(REQUEST.model_path) is None
    other = ModelLoadRequest(Path("/models/b.gguf"), split=EVEN_SPLIT)
    for request in (REQUEST, other, replace(REQUEST, n_ctx=512)):
        memory.remember(request)
    again = RequestMemory(file)
    assert again.last(REQUEST.model_path) == replace(REQUEST, n_ctx=512)
    assert again.last(other.model_path) == other


def test_presets_are_saved_replaced_and_deleted(file: Path) -> None:
    memory = RequestMemory(file)
    memory.save_preset("long", REQUEST)
    memory.save_preset("Fast", replace(REQUEST, n_ctx=512))
    memory.save_preset("long", replace(REQUEST, n_ctx=40960))
    again = RequestMemory(file)
    assert again.preset_names == ("Fast", "long")
    assert again.preset("long").n_ctx == 40960
    again.delete_preset("Fast")
    again.delete_preset("never there")
    assert RequestMemory(file).preset_names == ("long",)


def test_a_model_whose_name_is_no_text_is_remembered(file: Path) -> None:
    request = ModelLoadRequest(Path(os.fsdecode(b"/models/\xff.gguf")))
    RequestMemory(file).remember(request)
    assert RequestMemory(file).last(request.model_path) == request


@pytest.mark.parametrize("name", ["", "x" * 61])
def test_a_name_of_no_use_is_refused(file: Path, name: str) -> None:
    with pytest.raises(LaunchdeckError, match="1 to 60 characters"):
        RequestMemory(file).save_preset(name, REQUEST)


def test_models_that_were_not_deployed_for_long_are_forgotten(file: Path) -> None:
    memory = RequestMemory(file)
    for number in range(MOST_MODELS + 1):
        memory.remember(ModelLoadRequest(Path(f"/models/{number}.gguf")))
    assert memory.last(Path("/models/0.gguf")) is None
    assert memory.last(Path(f"/models/{MOST_MODELS}.gguf")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"last": 7}',
        '{"last": [], "presets": {}}',
        '{"version": 2, "requests": []}',
        '{"version": 0}',
        "\x00",
        "[" * 100_000,
    ],
)
def test_a_broken_file_is_kept_aside(file: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    file.parent.mkdir()
    file.write_text(text)
    memory = RequestMemory(file)
    assert memory.preset_names == ()
    assert file.with_name("requests.json.corrupt").read_text() == text
    assert "kept as requests.json.corrupt" in caplog.text
    memory.save_preset("new", REQUEST)
    assert RequestMemory(file).preset("new") == REQUEST


def test_one_broken_request_costs_no_other(file: Path) -> None:
    RequestMemory(file).save_preset("good", REQUEST)
    document = json.loads(file.read_text())
    document["requests"]["presets"]["bad"] = {"model_path": 7}
    damaged = json.dumps(document)
    file.write_text(damaged)
    memory = RequestMemory(file)
    assert memory.preset_names == ("good",)
    memory.save_preset("new", REQUEST)
    assert RequestMemory(file).preset_names == ("good", "new")
    assert file.with_name("requests.json.corrupt").read_text() == damaged  # what could not be used is not lost


def test_where_nothing_can_be_written_a_preset_is_refused_and_a_launch_goes_on(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    memory = RequestMemory(tmp_path / "state" / "requests.json")
    with pytest.raises(LaunchdeckError) as caught:
        memory.save_preset("long", REQUEST)
    assert caught.value.failure.cause is Cause.DISK_FULL
    assert memory.preset_names == ()
    memory.remember(REQUEST)
