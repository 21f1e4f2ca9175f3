from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QApplication, QPushButton

from fakes import samples
from fakes.recorded import offered_fixes
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuMask, GpuType
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import Verdict
from launchdeck.domain.request import ALL_LAYERS, ModelLoadRequest
from launchdeck.engines import advice
from launchdeck.engines.llama.argv import CONTEXT_STEP
from launchdeck.serving.requests.request_memory import RequestMemory
from launchdeck.ui.deploy.command_view import CommandText
from launchdeck.ui.deploy.deploy_form import DeployForm
from launchdeck.ui.kit import theme
from launchdeck.ui.kit.trailing_combo import TRAILING_ROLE
from qt.form_driver import (
    ENGINE,
    ONE_GPU,
    PORT,
    WAIT_MS,
    WORKER,
    button,
    command,
    deploy_button,
    estimate,
    has_button,
    named,
    pick,
    texts,
    use_inventory,
    wheel_down,
)


class TestFirstSight:
    def test_everything_is_filled_in_and_ready_to_deploy(self, form, big):
        assert form.request() == ModelLoadRequest(big.path, gpu_uuids=("GPU-0",), n_ctx=8192)
        assert deploy_button(form).isEnabled()
        assert "✓ fits" in estimate(form)
        assert "because the file is GGUF" in texts(form)
        assert f"--n-gpu-layers {big.layer_count} " in command(form)

    def test_the_gpu_is_the_one_that_the_planner_would_choose(self, qtbot, planner, big):
        planner.inventory = samples.two_gpus()  # the second has more free memory, but the engine cannot use it
        fresh = DeployForm(lambda request: planner.preview(request, PORT))
        qtbot.addWidget(fresh)
        fresh.set_models((big,))
        fresh.set_inventory(planner.inventory)
        assert fresh.request().gpu_uuids == ("GPU-0",)

    def test_a_gpu_that_is_not_ours_is_shown_and_cannot_be_chosen(self, qtbot, planner, big, tmp_path):
        first, second = (samples.gpu(place, "RTX 4090", GpuType.NVIDIA, 24, 2 + place) for place in range(2))
        mask = GpuMask("CUDA_VISIBLE_DEVICES=1")
        hidden = replace(first, gpu=replace(first.gpu, ours=False, hidden_by=mask))
        planner.inventory = samples.inventory(hidden, second)
        fresh = DeployForm(lambda request: planner.preview(request, PORT))
        qtbot.addWidget(fresh)
        memory = RequestMemory(tmp_path / "requests.json")
        memory.remember(ModelLoadRequest(big.path, gpu_uuids=("GPU-0",), n_ctx=4096))
        fresh.use_memory(memory)
        fresh.set_models((big,))
        fresh.set_inventory(planner.inventory)
        assert (fresh.request().gpu_uuids, fresh.request().n_ctx) == (("GPU-0",), 4096)
        with pytest.raises(LaunchdeckError, match="hidden from Launchdeck"):  # and it is not replaced
            planner.preview(fresh.request(), PORT)
        devices = named(fresh, "GPU")
        item = devices.model().item(0)
        assert not item.isEnabled()
        assert item.data(TRAILING_ROLE) == "not ours"
        assert mask.setting in item.toolTip()
        devices.toggle(1)
        devices.toggle(0)
        assert fresh.request().gpu_uuids == ("GPU-1",)

    def test_the_size_and_the_free_memory_stand_in_the_fields(self, form, big):
        assert named(form, "Model").trailing() == f"{big.size_bytes / samples.GIB:.1f} GiB"
        assert named(form, "GPU").trailing() == "12.6 free"
        assert named(form, "GPU").shown_text() == "0 RTX 4090"

    def test_a_long_name_is_worth_more_than_the_size(self, form, big):
        assert named(form, "Model").shows_trailing()
        form.set_models((replace(big, name="a-name-that-takes-all-the-room-there-is.Q4_K_M"),))
        assert not named(form, "Model").shows_trailing()
        assert named(form, "Model").lineEdit().textMargins().right() == 0

    def test_the_automatic_engine_is_named(self, form):
        assert named(form, "Engine").currentText() == "Auto: llama-server"


class TestModels:
    def test_without_models_it_says_what_to_do(self, qtbot, form):
        form.set_models(())
        assert form.request() is None
        assert not deploy_button(form).isEnabled()
        with qtbot.waitSignal(form.add_folder_requested):
            qtbot.mouseClick(button(form, "Choose a folder …"), Qt.MouseButton.LeftButton)

    def test_an_unusable_model_comes_last_greyed_with_its_reason(self, form, broken):
        items = named(form, "Model").model()
        index = items.index(items.rowCount() - 1, 0)
        assert index.data() == "broken"
        assert not index.flags() & Qt.ItemFlag.ItemIsEnabled
        assert index.data(Qt.ItemDataRole.ToolTipRole) == str(broken.problem)

    def test_typing_finds_a_model_anywhere_in_its_name(self, qtbot, form, small):
        combo = named(form, "Model")
        combo.lineEdit().selectAll()
        qtbot.keyClicks(combo.lineEdit(), "iny")
        found = combo.completer().popup()
        qtbot.waitUntil(found.isVisible, timeout=WAIT_MS)
        assert found.model().rowCount() == 1
        qtbot.mouseClick(found.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(20, 10))
        assert form.request().model_path == small.path

    def test_a_model_chosen_before_it_was_found_is_chosen_when_it_is(self, form, big, small):
        form.set_models((big,))
        form.choose_model(small.path)
        assert form.request() is None
        assert named(form, "Model").lineEdit().text() == small.path.name
        form.set_models((big, small))
        assert form.request().model_path == small.path
        form.set_models((small,))
        form.set_models((big, small))
        assert form.request().model_path == small.path

    def test_what_is_picked_meanwhile_is_not_taken_away(self, form, big, small, broken):
        form.set_models((big,))
        form.choose_model(small.path)
        pick(named(form, "Model"), 0)
        form.set_models((big, small))
        assert form.request().model_path == big.path

    def test_what_matches_nothing_goes_back_to_the_chosen_model(self, qtbot, form, big):
        edit = named(form, "Model").lineEdit()
        edit.selectAll()
        qtbot.keyClicks(edit, "nothing like it")
        qtbot.keyClick(edit, Qt.Key.Key_Return)
        assert edit.text() == big.name
        assert form.request().model_path == big.path

    def test_another_model_brings_its_own_layers_and_context(self, form, small):
        pick(named(form, "Model"), 1)
        assert form.request().model_path == small.path
        assert named(form, "Layers on the GPU").maximum() == small.layer_count
        context = named(form, "Context, in tokens")
        assert form.request().n_ctx == 4096
        assert [context.itemText(place) for place in range(context.count())] == ["1,024", "2,048", "4,096"]

    def test_a_new_scan_leaves_the_choice_and_what_is_typed_alone(self, qtbot, form, big, small, broken):
        pick(named(form, "Model"), 1)
        edit = named(form, "Model").lineEdit()
        edit.setFocus()
        edit.selectAll()
        qtbot.keyClicks(edit, "qw")
        form.set_models((big, small))
        assert edit.text() == "qw"
        assert form.request().model_path == small.path

    def test_only_what_a_model_was_made_for_can_be_chosen(self, form, big):
        form.set_models((replace(big, server_types=(ServerType.EMBEDDING,)),))
        assert form.request().server_type is ServerType.EMBEDDING
        assert not named(form, "Serve as: LLM").isEnabled()
        assert named(form, "Serve as: LLM").toolTip()

    def test_while_the_header_is_being_read_it_waits(self, form, planner, big, folder):
        other = replace(big, path=folder / "other.gguf", name="other")
        form.set_models((other,))
        assert estimate(form) == ["Reading the model …"]
        assert not deploy_button(form).isEnabled()


class TestDevices:
    def test_a_new_reading_moves_the_free_memory_and_nothing_else(self, qtbot, form, planner):
        layers = named(form, "Layers on the GPU")
        layers.setFocus()
        qtbot.keyClick(layers, Qt.Key.Key_Home)
        for _ in range(5):
            qtbot.keyClick(layers, Qt.Key.Key_Right)
        context = named(form, "Context, in tokens")
        context.setEditText("123")
        before = form.request()
        use_inventory(form, planner, samples.inventory(samples.gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 20)))
        assert form.request() == before
        assert before.n_gpu_layers == 5
        assert named(form, "GPU").trailing() == "4.0 free"
        assert any("of 4.0 GiB free" in text for text in estimate(form))

    def test_a_gpu_that_comes_later_does_not_take_the_choice(self, form, planner):
        use_inventory(form, planner, samples.two_gpus())
        assert form.request().gpu_uuids == ("GPU-0",)

    def test_a_gpu_that_no_engine_can_use_is_told_of_and_the_way_out_is_a_click(self, qtbot, form, planner):
        planner.engines = (samples.EMBEDDED,)
        form.set_engines(planner.engines)
        assert named(form, "GPU").shown_text() == "CPU"
        assert any("No engine found here can use this machine's GPUs" in text for text in estimate(form))
        with qtbot.waitSignal(form.engines_requested):
            qtbot.mouseClick(button(form, "Engines …"), Qt.MouseButton.LeftButton)
        pick(named(form, "GPU"), named(form, "GPU").count() - 1)
        assert form.request().gpu_uuids == ()
        assert not has_button(form, "Engines …")

    def test_a_gpu_that_was_chosen_and_has_no_engine_offers_the_engines_too(self, form, planner):
        pick(named(form, "GPU"), 0)
        planner.engines = (samples.EMBEDDED,)
        form.set_engines(planner.engines)
        assert not deploy_button(form).isEnabled()
        assert has_button(form, "Engines …")

    def test_where_the_chosen_gpu_is_gone_the_planner_chooses_again(self, form, planner):
        use_inventory(form, planner, samples.inventory())
        assert form.request().gpu_uuids == ()
        assert named(form, "GPU").shown_text() == "CPU"

    def test_a_gpu_that_the_user_chose_and_that_is_gone_is_not_replaced(self, form, planner):
        use_inventory(form, planner, samples.two_gpus())
        pick(named(form, "GPU"), 1)
        use_inventory(form, planner, ONE_GPU)
        assert form.request().gpu_uuids == ("GPU-1",)
        assert named(form, "GPU").shown_text() == "RX 7900 XTX, not there"
        assert any("RX 7900 XTX at 02:00.0 is not there." in text for text in estimate(form))
        assert not deploy_button(form).isEnabled()
        use_inventory(form, planner, samples.two_gpus())
        assert (form.request().gpu_uuids, named(form, "GPU").shown_text()) == (("GPU-1",), "1 RX 7900 XTX")
        use_inventory(form, planner, ONE_GPU)
        pick(named(form, "GPU"), 0)
        assert form.request().gpu_uuids == ("GPU-0",)
        assert deploy_button(form).isEnabled()
        assert named(form, "GPU").count() == 2

    def test_the_gpu_that_was_chosen_stays_chosen_wherever_it_stands_in_the_list(self, form, planner):
        use_inventory(form, planner, samples.two_gpus())
        pick(named(form, "GPU"), 1)
        second = samples.two_gpus().gpus[1]
        use_inventory(form, planner, samples.inventory(replace(second, gpu=replace(second.gpu, index=0))))
        assert (form.request().gpu_uuids, named(form, "GPU").shown_text()) == (("GPU-1",), "0 RX 7900 XTX")

    def test_a_missing_gpu_among_several_can_be_taken_away(self, form, planner):
        use_inventory(form, planner, samples.inventory(*(samples.gpu(n, "A", GpuType.NVIDIA, 24, 1) for n in (0, 1))))
        named(form, "GPU").toggle(1)
        assert form.request().gpu_uuids == ("GPU-0", "GPU-1")
        use_inventory(form, planner, ONE_GPU)
        assert form.request().gpu_uuids == ("GPU-0", "GPU-1")
        named(form, "GPU").toggle(2)
        assert form.request().gpu_uuids == ("GPU-0",)

    def test_a_click_on_a_check_box_adds_a_worker_and_leaves_the_list_open(self, qtbot, form):
        form.set_rpc_workers((WORKER,))
        combo = named(form, "GPU")
        combo.showPopup()
        view = combo.view()
        row = view.visualRect(combo.model().index(1, 0))
        qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(row.left() + 10, row.center().y()))
        assert view.isVisible()
        assert form.request().gpu_uuids == ("GPU-0",)
        assert form.request().rpc_workers == (WORKER,)
        assert combo.shown_text() == f"0 RTX 4090 + RPC {WORKER}"
        assert f"--rpc {WORKER}" in command(form)
        combo.hidePopup()

    def test_space_does_the_same_and_takes_away_again_but_for_the_last(self, qtbot, form):
        form.set_rpc_workers((WORKER,))
        combo = named(form, "GPU")
        combo.showPopup()
        view = combo.view()
        for row in (1, 0, 1):
            view.setCurrentIndex(combo.model().index(row, 0))
            qtbot.keyClick(view, Qt.Key.Key_Space)
        assert (form.request().gpu_uuids, form.request().rpc_workers) == ((), (WORKER,))
        combo.hidePopup()

    def test_on_the_cpu_there_are_no_layers_to_choose(self, qtbot, form):
        combo = named(form, "GPU")
        qtbot.keyClick(named(form, "Layers on the GPU"), Qt.Key.Key_Left)
        assert form.request().n_gpu_layers == 40
        pick(combo, combo.count() - 1)
        assert form.request().gpu_uuids == ()
        assert form.request().n_gpu_layers == 0
        assert not named(form, "Layers on the GPU").isEnabled()
        assert "RAM" in estimate(form)
        form.use_device("GPU-0", used=True)
        assert form.request().n_gpu_layers is None
        assert named(form, "Layers on the GPU").value() == named(form, "Layers on the GPU").maximum()

    def test_what_a_card_asks_for_is_as_if_it_was_ticked_in_the_list(self, form, planner):
        shown = []
        form.devices_shown.connect(shown.append)
        use_inventory(form, planner, samples.inventory(*(samples.gpu(n, "A", GpuType.NVIDIA, 24, 1) for n in (0, 1))))
        form.use_device("GPU-1", used=True)
        assert form.request().gpu_uuids == ("GPU-0", "GPU-1")
        assert shown[-1] == {"GPU-0", "GPU-1"}
        form.use_device("GPU-0", used=False)
        form.use_device("GPU-1", used=False)
        assert form.request().gpu_uuids == ("GPU-1",), "the last one stays"
        form.use_device("cpu", used=True)
        assert (form.request().gpu_uuids, shown[-1]) == ((), {"cpu"})
        form.use_device("GPU-9", used=True)
        assert (form.request().gpu_uuids, shown[-1]) == ((), {"cpu"})

    def test_free_memory_is_listed_with_every_device(self, form):
        items = named(form, "GPU").model()
        assert [items.index(row, 0).data(TRAILING_ROLE) for row in range(2)] == ["12.6 free", "45.8 free"]


class TestLayers:
    def test_moving_the_slider_leaves_auto_and_goes_unchanged_into_the_command(self, qtbot, form):
        slider = named(form, "Layers on the GPU")
        qtbot.keyClick(slider, Qt.Key.Key_Home)
        assert form.request().n_gpu_layers == 0
        for _ in range(27):
            qtbot.keyClick(slider, Qt.Key.Key_Right)
        assert form.request().n_gpu_layers == 27
        assert "--n-gpu-layers 27 " in command(form)
        assert "RAM" in estimate(form)
        assert named(form, "Number of layers on the GPU").value() == 27

    def test_a_typed_number_does_the_same(self, qtbot, form):
        number = named(form, "Number of layers on the GPU")
        number.selectAll()
        qtbot.keyClicks(number, "12")
        assert form.request().n_gpu_layers == 12
        assert named(form, "Layers on the GPU").value() == 12

    def test_auto_shows_what_fits(self, form, planner):
        use_inventory(form, planner, samples.inventory(samples.gpu(0, "RTX 3060", GpuType.NVIDIA, 12, 7)))
        assert form.request().n_gpu_layers is None
        shown = named(form, "Layers on the GPU").value()
        assert 0 < shown < named(form, "Layers on the GPU").maximum()
        assert f"--n-gpu-layers {shown} " in command(form)

    def test_too_many_are_refused_in_words_and_one_click_makes_it_fit(self, qtbot, form, planner):
        use_inventory(form, planner, samples.inventory(samples.gpu(0, "RTX 3060", GpuType.NVIDIA, 12, 7)))
        qtbot.keyClick(named(form, "Layers on the GPU"), Qt.Key.Key_End)
        assert "✗ does not fit" in estimate(form)
        assert named(form, "Deploy anyway").isEnabled()
        assert named(form, "Deploy anyway").text().startswith("Deploy anyway")
        fit = planner.plan(form.request(), PORT).layers.largest_that_fits
        qtbot.waitUntil(lambda: has_button(form, f"Use {fit} layers"), timeout=WAIT_MS)
        qtbot.mouseClick(button(form, f"Use {fit} layers"), Qt.MouseButton.LeftButton)
        assert form.request().n_gpu_layers == fit
        assert "✓ fits" in estimate(form)
        assert deploy_button(form).text().startswith("Deploy ")


class TestContextAndSlots:
    def test_a_typed_context_counts_at_once(self, qtbot, form):
        edit = named(form, "Context, in tokens").lineEdit()
        edit.selectAll()
        qtbot.keyClicks(edit, "12,000")
        assert form.request().n_ctx == 12000
        assert "--ctx-size 12000 " in command(form)

    def test_left_empty_it_is_the_usual(self, qtbot, form):
        edit = named(form, "Context, in tokens").lineEdit()
        edit.selectAll()
        qtbot.keyClick(edit, Qt.Key.Key_Delete)
        assert form.request().n_ctx is None
        assert "--ctx-size 8192 " in command(form)

    def test_beyond_the_limit_the_fix_is_a_click(self, qtbot, form):
        edit = named(form, "Context, in tokens").lineEdit()
        edit.selectAll()
        qtbot.keyClicks(edit, "999999")
        assert not deploy_button(form).isEnabled()
        assert command(form) == ""
        qtbot.mouseClick(button(form, "Use a context of 163840"), Qt.MouseButton.LeftButton)
        assert form.request().n_ctx == 4 * 40960
        assert command(form)

    def test_what_several_slots_share_may_be_more_than_one_can_use(self, qtbot, form):
        edit = named(form, "Context, in tokens").lineEdit()
        edit.selectAll()
        qtbot.keyClicks(edit, "99999")
        assert "--ctx-size 99999 " in command(form)
        named(form, "Slots: requests answered at the same time").setValue(1)
        assert command(form) == ""
        qtbot.mouseClick(button(form, "Use a context of 40960"), Qt.MouseButton.LeftButton)
        assert form.request().n_ctx == 40960
        assert deploy_button(form).isEnabled()

    def test_slots_go_into_the_request(self, form):
        named(form, "Slots: requests answered at the same time").setValue(2)
        assert form.request().n_parallel == 2
        assert "--parallel 2 " in command(form)

    def test_the_largest_context_is_told_a_moment_later_and_really_fits(self, qtbot, form, planner):
        qtbot.waitUntil(lambda: any("up to" in text for text in estimate(form)), timeout=WAIT_MS)
        plan = planner.plan(form.request(), PORT)
        largest = advice.largest_context(plan, lambda request: planner.preview(request, PORT))
        assert any(f"up to {largest:,} context" in text for text in estimate(form))
        for n_ctx, fits in ((largest, True), (largest + CONTEXT_STEP, False)):
            tried = planner.plan(replace(form.request(), n_ctx=n_ctx, n_gpu_layers=ALL_LAYERS), PORT)
            assert (tried.verdict is Verdict.FITS) is fits


class TestEngineAndMore:
    def test_a_certain_engine_can_be_chosen(self, form):
        combo = named(form, "Engine")
        pick(combo, 1)
        assert form.request().engine_id == ENGINE.id
        assert combo.itemText(0) == "Auto"

    def test_an_engine_that_cannot_use_the_gpu_is_refused_and_the_cpu_offered(self, qtbot, form):
        pick(named(form, "Engine"), 2)
        assert "✗ not possible" in estimate(form)
        assert not deploy_button(form).isEnabled()
        qtbot.mouseClick(button(form, "Run on the CPU"), Qt.MouseButton.LeftButton)
        assert form.request().gpu_uuids == ()
        assert deploy_button(form).isEnabled()

    def test_other_engines_choose_the_device_again_unless_the_user_has(self, form, planner):
        planner.engines = (samples.EMBEDDED,)
        form.set_engines(planner.engines)
        assert named(form, "GPU").shown_text() == "CPU"
        form.use_device("GPU-0", used=True)
        form.set_engines(planner.engines)
        assert form.request().gpu_uuids == ("GPU-0",)
        assert not deploy_button(form).isEnabled()


class TestRequests:
    def test_a_request_fills_the_form_and_comes_out_again(self, form, small):
        form.set_rpc_workers((WORKER,))
        request = ModelLoadRequest(
            small.path,
            ServerType.EMBEDDING,
            "mine",
            gpu_uuids=("GPU-0",),
            rpc_workers=(WORKER,),
            n_gpu_layers=2,
            n_ctx=1024,
            n_parallel=1,
            cache_type_k="q8_0",
            cache_type_v="q4_0",
            engine_id=ENGINE.id,
        )
        form.show_request(request)
        assert form.request() == request

    @pytest.mark.parametrize("fix", offered_fixes(), ids=lambda fix: str(fix.label))
    def test_what_a_failure_offers_is_what_the_form_then_asks_for(self, form, small, big, fix):
        failed = ModelLoadRequest(
            small.path,
            gpu_uuids=("GPU-0",),
            n_gpu_layers=2,
            n_ctx=1024,
            cache_type_k="q4_0",
            cache_type_v="q4_0",
            extra_args=("--mlock",),
        )
        changes = {name: big.path if name == "model_path" else value for name, value in fix.changes}
        form.show_request(replace(failed, **changes))
        assert form.request() == replace(failed, **changes)

    def test_all_layers_become_their_number(self, form, big):
        form.show_request(ModelLoadRequest(big.path, gpu_uuids=("GPU-0",), n_gpu_layers=ALL_LAYERS))
        assert form.request().n_gpu_layers == big.layer_count

    def test_a_model_from_elsewhere_is_not_mistaken_for_another(self, form):
        form.show_request(ModelLoadRequest(Path("/elsewhere/model.gguf")))
        assert form.request() is None
        assert not deploy_button(form).isEnabled()

    def test_the_button_and_ctrl_enter_deploy_what_is_shown(self, qtbot, form):
        with qtbot.waitSignal(form.deploy_requested) as clicked:
            qtbot.mouseClick(deploy_button(form), Qt.MouseButton.LeftButton)
        assert clicked.args == [form.request()]
        form.activateWindow()
        named(form, "Context, in tokens").setFocus()
        with qtbot.waitSignal(form.deploy_requested):
            qtbot.keyClick(form, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)

    def test_what_cannot_be_deployed_is_not_deployed_by_a_key_either(self, qtbot, form):
        pick(named(form, "Engine"), 2)
        assert form.request() is not None
        with qtbot.assertNotEmitted(form.deploy_requested):
            qtbot.keyClick(form, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)

    def test_a_recorded_machine_is_planned_for_and_not_started_on(self, form, planner):
        use_inventory(form, planner, replace(ONE_GPU, replayed=True))
        assert "✗ not possible" in estimate(form)
        assert any("recorded machine" in text for text in estimate(form))
        assert any("12.6 GiB free" in text for text in estimate(form))
        assert not deploy_button(form).isEnabled()
        assert sum("recorded machine" in text for text in estimate(form)) == 1

    def test_the_command_can_be_copied(self, qtbot, form):
        qtbot.mouseClick(named(form, "Copy the command"), Qt.MouseButton.LeftButton)
        assert QApplication.clipboard().text() == command(form)
        assert "LLAMA_API_KEY='***'" in command(form)


class TestComfort:
    def test_the_wheel_scrolls_the_form_and_changes_nothing(self, form):
        before = form.request()
        form.activateWindow()
        for name in ("Model", "GPU", "Context, in tokens", "Engine", "Preset", "Type of the KV cache's keys"):
            field = named(form, name)
            field.setFocus()  # a closed list is none to scroll in, with the focus neither
            wheel_down(field)
            assert form.request() == before, name
        for name in ("Number of layers on the GPU", "Layers on the GPU", "CPU threads"):
            wheel_down(named(form, name))
        assert form.request() == before

    def test_another_theme_colours_everything_anew(self, qapp, form):
        def colours():
            dot = named(form, "GPU").itemIcon(0).pixmap(20, 20).toImage().pixelColor(10, 10).name()
            squares = next(text for text in estimate(form) if "weights" in text)
            return dot, squares, form.findChild(CommandText).toHtml()

        dark = colours()
        theme.apply(qapp, "light")
        light = colours()
        assert all(one != other for one, other in zip(dark, light, strict=True))
        assert light[0] == theme.LIGHT.curve(0)
        assert theme.LIGHT.models[0] in light[1]

    @pytest.mark.parametrize(
        ("key", "name"), [("M", "Model"), ("G", "GPU"), ("L", "Layers on the GPU"), ("X", "Context, in tokens")]
    )
    def test_keys_lead_to_the_fields(self, qtbot, form, key, name):
        form.activateWindow()
        qtbot.keyClick(form, getattr(Qt.Key, f"Key_{key}"), Qt.KeyboardModifier.AltModifier)
        assert named(form, name).hasFocus()

    def test_tab_goes_through_the_decision_and_ends_at_the_button(self, qtbot, form):
        form.activateWindow()
        named(form, "Model").setFocus()
        order = []
        while (widget := form.focusWidget()) is not deploy_button(form) and len(order) < 20:
            order.append(widget.accessibleName() or widget.text())
            qtbot.keyClick(widget, Qt.Key.Key_Tab)
        assert order == [
            "Model",
            "Library of models",
            "Serve as: LLM",
            "GPU",
            "Layers on the GPU",
            "Number of layers on the GPU",
            "auto",
            "Context, in tokens",
            "Slots: requests answered at the same time",
            "Engine",
            "Engines of this machine",
            "More settings: KV types, split, threads …",
            "Command",
            "Copy the command",
            "Command",
        ]

    def test_in_a_small_window_the_button_stays_in_sight(self, form):
        form.resize(form.minimumSizeHint().width(), 420)
        bottom = deploy_button(form).mapTo(form, QPoint(0, deploy_button(form).height())).y()
        assert bottom <= form.height()
        assert form.minimumSizeHint().width() <= 350

    def test_every_field_has_a_name_for_assistive_technology(self, form):
        fields = [w for w in form.findChildren(QPushButton) if w.isVisible()]
        assert all(field.accessibleName() or field.text() for field in fields)


def test_a_reading_that_changes_nothing_visible_asks_for_no_plan(qtbot, planner, big):
    asked = []

    def preview(request):
        asked.append(request)
        return planner.preview(request, PORT)

    form = DeployForm(preview)
    qtbot.addWidget(form)
    form.set_models((big,))
    use_inventory(form, planner, ONE_GPU)
    asked.clear()
    (reading,) = ONE_GPU.gpus
    free_bytes = reading.sample.free_memory_bytes
    nearly = replace(reading, sample=replace(reading.sample, free_memory_bytes=free_bytes + 2**20, temperature_c=70))
    use_inventory(form, planner, replace(ONE_GPU, gpus=(nearly,)))
    assert asked == []
    fuller = replace(reading, sample=replace(reading.sample, free_memory_bytes=free_bytes - 2**29))
    use_inventory(form, planner, replace(ONE_GPU, gpus=(fuller,)))
    assert asked
