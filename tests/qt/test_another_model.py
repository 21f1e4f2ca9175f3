"""What a model forces on the form goes with it; what the user chose himself stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt

from launchdeck.domain.model import ServerType
from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.serving.requests.request_memory import RequestMemory
from qt.form_driver import command, named, pick

CONTEXT = "Context, in tokens"
EXPERTS = "Blocks whose experts stay in RAM"


@pytest.fixture
def models(form, planner, big, small, folder):
    """An LLM, one that embeds up to 512 tokens, and one with experts, in this order."""
    embedder = replace(small, server_types=(ServerType.EMBEDDING,), context_length=512)
    mixed = replace(big, path=folder / "mixed.gguf", name="mixed", expert_count=8)
    form.set_models((big, embedder, mixed))
    return form


def type_context(qtbot, form, text):
    edit = named(form, CONTEXT).lineEdit()
    edit.selectAll()
    qtbot.keyClicks(edit, text)


def choose(form, place):
    pick(named(form, "Model"), place)


def test_purpose_and_context_of_an_embedding_model_go_with_it(models):
    before = models.request()
    choose(models, 1)
    assert (models.request().server_type, models.request().n_ctx) == (ServerType.EMBEDDING, 512)
    choose(models, 0)
    assert models.request() == before
    assert "--embeddings" not in command(models)


def test_what_the_user_chose_comes_back_where_a_model_could_not_have_it(qtbot, models):
    named(models, "Serve as: Embedding").click()
    type_context(qtbot, models, "16384")
    choose(models, 1)
    assert models.request().n_ctx == 512
    choose(models, 0)
    assert (models.request().server_type, models.request().n_ctx) == (ServerType.EMBEDDING, 16384)
    named(models, "Serve as: LLM").click()
    choose(models, 1)
    choose(models, 0)
    assert models.request().server_type is ServerType.LLM


def test_experts_in_ram_are_those_of_the_models_that_have_some(models):
    choose(models, 2)
    named(models, EXPERTS).setValue(12)
    choose(models, 0)
    assert models.request().n_cpu_moe == 0
    choose(models, 2)
    assert models.request().n_cpu_moe == 12


def test_layers_chosen_for_a_large_model_are_there_again_after_a_small_one(models, small):
    named(models, "Number of layers on the GPU").setValue(27)
    choose(models, 1)
    assert models.request().n_gpu_layers == small.layer_count
    choose(models, 0)
    assert models.request().n_gpu_layers == 27


def test_how_one_model_was_deployed_is_nothing_for_the_next(models, tmp_path, big, small):
    before = models.request()
    memory = RequestMemory(tmp_path / "requests.json")
    last = {
        "n_gpu_layers": 0,
        "n_ctx": 256,
        "n_parallel": 1,
        "cache_type_k": "q8_0",
        "n_cpu_moe": 0,
        "extra_args": ("--pooling", "cls"),
    }
    memory.remember(ModelLoadRequest(small.path, ServerType.EMBEDDING, "my-embedder", gpu_uuids=(), **last))
    models.use_memory(memory)
    choose(models, 1)
    assert models.request() == memory.last(small.path)
    choose(models, 0)
    assert models.request() == before


def test_what_was_changed_in_a_model_that_came_as_it_was_deployed_stays(qtbot, models, tmp_path, small):
    memory = RequestMemory(tmp_path / "requests.json")
    memory.remember(ModelLoadRequest(small.path, ServerType.EMBEDDING, n_ctx=256, n_parallel=1))
    models.use_memory(memory)
    choose(models, 1)
    qtbot.mouseClick(named(models, "Flash attention: on"), Qt.MouseButton.LeftButton)
    choose(models, 0)
    assert models.request().flash_attention is FlashAttention.ON
    assert (models.request().n_parallel, models.request().n_ctx) == (4, 8192)


def test_layers_that_the_cpu_has_made_pointless_do_not_come_back(models):
    named(models, "Number of layers on the GPU").setValue(27)
    pick(named(models, "GPU"), named(models, "GPU").count() - 1)
    choose(models, 1)
    choose(models, 0)
    pick(named(models, "GPU"), 0)
    choose(models, 2)
    assert models.request().n_gpu_layers is None
