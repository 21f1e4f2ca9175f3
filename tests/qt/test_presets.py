from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt

from launchdeck.domain.gpu import PlannedGpu
from launchdeck.domain.request import FlashAttention, ModelLoadRequest
from launchdeck.serving.requests.request_memory import RequestMemory
from launchdeck.ui.deploy.deploy_form import DeployForm
from qt.form_driver import PORT, WORKER, deploy_button, named, pick, texts

TITLE = "More settings: KV types, split, threads …"


@pytest.fixture
def memory(tmp_path):
    return RequestMemory(tmp_path / "requests.json")


@pytest.fixture
def remembering(qtbot, form, memory):
    form.use_memory(memory)
    qtbot.mouseClick(named(form, TITLE), Qt.MouseButton.LeftButton)
    return form


def type_name(qtbot, form, name):
    edit = named(form, "Preset").lineEdit()
    edit.selectAll()
    qtbot.keyClicks(edit, name)


def test_a_model_that_is_chosen_again_comes_as_it_was_deployed(remembering, memory, big, small):
    memory.remember(ModelLoadRequest(small.path, gpu_uuids=("GPU-0",), n_gpu_layers=2, n_ctx=2048, n_parallel=1))
    pick(named(remembering, "Model"), 1)
    assert remembering.request() == memory.last(small.path)
    pick(named(remembering, "Model"), 0)
    assert remembering.request().model_path == big.path


def test_a_worker_that_is_gone_is_left_out_and_a_gpu_stays_chosen_until_another_one_is(remembering, memory, small):
    gone = PlannedGpu(3, "GPU-3", "RTX 3090", "0000:04:00.0")
    asked = ModelLoadRequest(small.path, gpu_uuids=("GPU-3",), known_gpus=(gone,), n_ctx=2048)
    memory.remember(replace(asked, rpc_workers=("127.0.0.1:9",)))
    pick(named(remembering, "Model"), 1)
    assert (remembering.request().gpu_uuids, remembering.request().rpc_workers) == (("GPU-3",), ())
    assert named(remembering, "GPU").shown_text() == "RTX 3090, not there"
    assert not deploy_button(remembering).isEnabled()
    assert any("RTX 3090 at 04:00.0 is not there." in text for text in texts(remembering))
    assert remembering.request().n_ctx == 2048
    pick(named(remembering, "GPU"), 0)
    assert remembering.request().gpu_uuids == ("GPU-0",)
    assert deploy_button(remembering).isEnabled()
    assert not any("not there" in named(remembering, "GPU").itemText(row) for row in range(2))


def test_the_model_that_is_there_at_the_start_comes_so_too(qtbot, planner, memory, big):
    memory.remember(ModelLoadRequest(big.path, n_ctx=16384))
    fresh = DeployForm(lambda request: planner.preview(request, PORT))
    qtbot.addWidget(fresh)
    fresh.use_memory(memory)
    fresh.set_models((big,))
    fresh.set_inventory(planner.inventory)
    assert fresh.request() == ModelLoadRequest(big.path, gpu_uuids=("GPU-0",), n_ctx=16384)


def test_what_was_saved_for_a_place_shows_the_gpu_that_had_it_as_soon_as_that_is_known(qtbot, planner, memory, big):
    kept = PlannedGpu.unidentified(0)
    memory.remember(ModelLoadRequest(big.path, gpu_uuids=(kept.uuid,), known_gpus=(kept,)))
    fresh = DeployForm(lambda request: planner.preview(request, PORT))
    qtbot.addWidget(fresh)
    fresh.use_memory(memory)
    fresh.set_models((big,))
    assert named(fresh, "GPU").shown_text() == "GPU 0, to be chosen again"
    memory.remember(replace(memory.last(big.path), gpu_uuids=("GPU-0",)))
    fresh.set_inventory(planner.inventory)
    assert fresh.request().gpu_uuids == ("GPU-0",)
    assert named(fresh, "GPU").shown_text() == "0 RTX 4090"


def test_a_worker_and_the_cpu_stay_chosen_where_the_devices_are_known_later(qtbot, planner, memory, big):
    for asked in (
        ModelLoadRequest(big.path, gpu_uuids=()),
        ModelLoadRequest(big.path, gpu_uuids=(), rpc_workers=(WORKER,)),
    ):
        memory.remember(asked)
        fresh = DeployForm(lambda request: planner.preview(request, PORT))
        qtbot.addWidget(fresh)
        fresh.set_rpc_workers((WORKER,))
        fresh.use_memory(memory)
        fresh.set_models((big,))
        fresh.set_inventory(planner.inventory)
        assert (fresh.request().gpu_uuids, fresh.request().rpc_workers) == ((), asked.rpc_workers)


def test_a_preset_for_a_place_that_nobody_knows_has_its_gpu_chosen_again(remembering, memory, big):
    kept = PlannedGpu.unidentified(0)
    memory.save_preset("old", ModelLoadRequest(big.path, gpu_uuids=(kept.uuid,), known_gpus=(kept,)))
    remembering.show_request(memory.preset("old"))
    assert named(remembering, "GPU").shown_text() == "GPU 0, to be chosen again"
    assert any("saved for GPU 0, which may be another one now" in text for text in texts(remembering))
    assert not deploy_button(remembering).isEnabled()
    pick(named(remembering, "GPU"), 0)
    assert deploy_button(remembering).isEnabled()


def test_a_preset_is_saved_chosen_and_deleted(qtbot, remembering, memory, big, small):
    save, delete = named(remembering, "Save the form as this preset"), named(remembering, "Delete this preset")
    assert not save.isEnabled()
    qtbot.mouseClick(named(remembering, "Flash attention: on"), Qt.MouseButton.LeftButton)
    wanted = remembering.request()
    type_name(qtbot, remembering, "with flash")
    assert not delete.isEnabled()
    qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
    assert memory.preset("with flash") == wanted
    pick(named(remembering, "Model"), 1)
    assert remembering.request().model_path == small.path
    pick(named(remembering, "Preset"), 0)
    assert remembering.request() == wanted
    assert wanted.flash_attention is FlashAttention.ON
    qtbot.mouseClick(delete, Qt.MouseButton.LeftButton)
    assert memory.preset_names == ()
    assert named(remembering, "Preset").count() == 0
    assert remembering.request() == wanted


def test_what_cannot_be_saved_is_told(qtbot, form, tmp_path):
    (tmp_path / "state").write_text("")
    form.use_memory(RequestMemory(tmp_path / "state" / "requests.json"))
    qtbot.mouseClick(named(form, TITLE), Qt.MouseButton.LeftButton)
    type_name(qtbot, form, "x")
    with qtbot.waitSignal(form.failed) as told:
        qtbot.mouseClick(named(form, "Save the form as this preset"), Qt.MouseButton.LeftButton)
    assert "could not be saved" in str(told.args[0])
