from __future__ import annotations

import pytest
from PySide6.QtCore import Qt

from fakes import gguf_zoo, samples
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.request import EVEN_SPLIT, FlashAttention, ModelLoadRequest
from launchdeck.models.describe import inspect
from qt.form_driver import button, command, deploy_button, estimate, named, pick, use_inventory

TITLE = "More settings: KV types, split, threads …"
TWO = samples.inventory(
    samples.gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 11.4), samples.gpu(1, "RTX 4090", GpuType.NVIDIA, 24, 4)
)


@pytest.fixture(scope="module")
def mixture(folder):
    """8 blocks with experts."""
    return inspect(gguf_zoo.mixtral().write(folder / "mixture.gguf"))


@pytest.fixture
def opened(qtbot, form):
    qtbot.mouseClick(named(form, TITLE), Qt.MouseButton.LeftButton)
    return form


def type_into(qtbot, field, text):
    edit = getattr(field, "lineEdit", lambda: field)()
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, text)


def test_name_and_cache_types_are_there_for_who_wants_them(qtbot, form):
    assert not named(form, "Name of the deployment").isVisible()
    qtbot.mouseClick(named(form, TITLE), Qt.MouseButton.LeftButton)
    assert named(form, "Name of the deployment").placeholderText() == "qwen3-14b"
    qtbot.keyClicks(named(form, "Name of the deployment"), "mine")
    keys = named(form, "Type of the KV cache's keys")
    pick(keys, keys.findText("q8_0"))
    assert (form.request().model_id, form.request().cache_type_k) == ("mine", "q8_0")
    assert form.request().cache_type_v == "f16"
    assert "--alias mine " in command(form)
    assert "--cache-type-k q8_0" in command(form)


def test_left_alone_they_ask_for_nothing(opened, big):
    assert opened.request() == ModelLoadRequest(big.path, gpu_uuids=("GPU-0",), n_ctx=8192)


def test_the_prompt_cache_is_auto_or_a_number_and_zero_is_none(qtbot, opened):
    field = named(opened, "RAM in which prompts may be kept, in MiB")
    assert field.text() == "auto"
    type_into(qtbot, field, "512")
    assert opened.request().cache_ram_mib == 512
    assert "--cache-ram 512" in command(opened)
    type_into(qtbot, field, "0")
    assert opened.request().cache_ram_mib == 0
    opened.show_request(ModelLoadRequest(opened.request().model_path, cache_ram_mib=None))
    assert (field.text(), opened.request().cache_ram_mib) == ("auto", None)


def test_threads_and_batches_go_into_the_command_and_empty_is_auto(qtbot, opened):
    for name, text in (("CPU threads", "6"), ("Tokens in a batch", "1024"), ("Tokens computed at once", "256")):
        assert named(opened, name).text() == "auto"
        type_into(qtbot, named(opened, name), text)
    assert "--batch-size 1024 --ubatch-size 256 --threads 6" in command(opened)
    type_into(qtbot, named(opened, "CPU threads"), "0")
    assert opened.request().n_threads is None
    assert "--threads" not in command(opened)


def test_flash_attention_off_is_in_the_command_and_in_the_estimate(qtbot, opened):
    before = estimate(opened)
    qtbot.mouseClick(named(opened, "Flash attention: off"), Qt.MouseButton.LeftButton)
    assert opened.request().flash_attention is FlashAttention.OFF
    assert "--flash-attn off" in command(opened)
    assert estimate(opened) != before


def test_off_with_a_quantised_v_cache_is_refused_and_one_click_mends_it(qtbot, opened):
    values = named(opened, "Type of the KV cache's values")
    pick(values, values.findText("q8_0"))
    qtbot.mouseClick(named(opened, "Flash attention: off"), Qt.MouseButton.LeftButton)
    assert not deploy_button(opened).isEnabled()
    qtbot.mouseClick(button(opened, "Store V as f16"), Qt.MouseButton.LeftButton)
    assert deploy_button(opened).isEnabled()
    assert (opened.request().flash_attention, opened.request().cache_type_v) == (FlashAttention.OFF, "f16")


def test_a_split_evenly_or_by_hand(qtbot, opened, planner):
    use_inventory(opened, planner, TWO)
    named(opened, "GPU").toggle(1)
    split, shares = named(opened, "Split over several devices"), named(opened, "Share of each device")
    assert "--tensor-split 12.6,20 " in command(opened)
    pick(split, 1)
    assert opened.request().split == EVEN_SPLIT
    assert "--tensor-split 1,1 " in command(opened)
    assert not shares.isVisible()
    pick(split, 2)
    type_into(qtbot, shares, "3, 1")
    assert opened.request().split == (3.0, 1.0)
    assert "--tensor-split 3,1 " in command(opened)
    type_into(qtbot, shares, "3, 1, 2")
    assert not deploy_button(opened).isEnabled()
    qtbot.mouseClick(button(opened, "Split by free memory"), Qt.MouseButton.LeftButton)
    assert opened.request().split is None
    assert deploy_button(opened).isEnabled()


def test_experts_stay_in_ram_where_a_model_has_some(qtbot, opened, planner, big, mixture):
    experts = named(opened, "Blocks whose experts stay in RAM")
    assert not experts.isEnabled()
    planner.prepare(mixture.path)
    opened.set_models((big, mixture))
    opened.show_request(ModelLoadRequest(mixture.path, gpu_uuids=("GPU-0",), n_cpu_moe=3))
    assert experts.isEnabled()
    assert experts.text() == "3 / 8"
    assert "--n-cpu-moe 3" in command(opened)
    opened.show_request(ModelLoadRequest(big.path, gpu_uuids=("GPU-0",)))
    assert opened.request().n_cpu_moe == 0


def test_extra_arguments_are_passed_on_word_by_word(qtbot, opened):
    field = named(opened, "Extra arguments for the engine")
    type_into(qtbot, field, "--temp 0.2 --reasoning-format 'none'")
    assert opened.request().extra_args == ("--temp", "0.2", "--reasoning-format", "none")
    assert command(opened).endswith("--temp 0.2 --reasoning-format none")


def test_what_must_not_be_an_extra_argument_is_refused_in_words(qtbot, opened):
    type_into(qtbot, named(opened, "Extra arguments for the engine"), "--host 0.0.0.0")
    assert any("--host cannot be an extra argument." in text for text in estimate(opened))
    assert not deploy_button(opened).isEnabled()
    qtbot.mouseClick(button(opened, "Leave out the extra arguments"), Qt.MouseButton.LeftButton)
    assert deploy_button(opened).isEnabled()


def test_all_of_them_come_out_of_the_form_as_they_went_in(form, planner, big, mixture):
    use_inventory(form, planner, TWO)
    planner.prepare(mixture.path)
    form.set_models((big, mixture))
    request = ModelLoadRequest(
        mixture.path,
        gpu_uuids=("GPU-0", "GPU-1"),
        n_ctx=2048,
        flash_attention=FlashAttention.ON,
        split=(2.5, 1.0),
        n_threads=3,
        n_batch=512,
        n_ubatch=128,
        n_cpu_moe=8,
        extra_args=("--reasoning-format", "deep seek"),
    )
    form.show_request(request)
    assert form.request() == request
