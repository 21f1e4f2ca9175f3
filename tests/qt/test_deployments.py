from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication

from fakes import samples
from launchdeck.domain.deployment import Applied, State
from launchdeck.domain.gpu import PlannedGpu
from launchdeck.domain.text import Message
from launchdeck.serving.failures import ended_by_force
from launchdeck.ui.deployments.deployments_model import SORT_ROLE, Column, DeploymentsModel
from launchdeck.ui.deployments.deployments_view import DeploymentsView
from launchdeck.ui.kit import i18n, theme
from launchdeck.ui.kit.model_colors import model_color


@pytest.fixture(autouse=True)
def english():
    i18n.set_language("en")


def text(model, row, column):
    return model.index(row, column).data()


START = "Start with Launchdeck"


class TestModel:
    def test_is_a_sound_qt_model_through_its_whole_life(self, qtmodeltester):
        model = DeploymentsModel()
        tester_sees_every_change_from_here = qtmodeltester
        tester_sees_every_change_from_here.check(model)
        model.set_deployments((samples.deployment("a"), samples.deployment("b"), samples.failed_deployment("c")))
        model.update(samples.deployment("a", state=State.STOPPED))
        model.set_speed("a", 12.0)
        model.set_deployments((samples.deployment("b"), samples.deployment("d")))
        tester_sees_every_change_from_here.check(model)

    def test_keeps_rows_that_stay_and_appends_new_ones(self):
        model = DeploymentsModel()
        model.set_deployments(tuple(samples.deployment(key, key) for key in "abc"))
        model.set_deployments(tuple(samples.deployment(key, key) for key in "bcd"))
        assert [text(model, row, Column.NAME) for row in range(model.rowCount())] == ["b", "c", "d"]

    def test_announces_only_the_row_that_changed(self, qtbot):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a"), samples.deployment("b")))
        with qtbot.waitSignal(model.dataChanged) as changed:
            model.update(samples.deployment("b", state=State.STOPPING))
        first, last = changed.args[0], changed.args[1]
        assert (first.row(), last.row()) == (1, 1)

    def test_says_nothing_when_nothing_changed(self, qtbot):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a"),))
        with qtbot.assertNotEmitted(model.dataChanged):
            model.update(samples.deployment("a"))

    def test_tells_a_running_deployment_in_numbers(self):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", "qwen3-8b"),))
        model.set_speed("a", 96.4)
        shown = [text(model, 0, column) for column in Column]
        assert shown == ["qwen3-8b", "0", "37/37", "running", "llama-server :8001", "8,192", "7.2 / 7.1", "96", ""]

    def test_shows_progress_while_loading(self):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", state=State.LOADING, progress=0.62),))
        assert text(model, 0, Column.STATE) == "62 %"

    def test_a_model_that_was_stopped_by_force_says_so(self):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", state=State.STOPPED, ended_how=ended_by_force()),))
        assert text(model, 0, Column.STATE) == str(ended_by_force())

    def test_a_failure_is_told_with_its_sentence_and_what_to_do(self):
        model = DeploymentsModel()
        model.set_deployments((samples.failed_deployment(),))
        state = model.index(0, Column.STATE)
        assert state.data() == "It needs 48 GiB, 32 GiB are free."
        assert state.data(Qt.ItemDataRole.ToolTipRole).endswith("Put fewer layers on the GPU.")

    def test_what_waits_for_its_turn_says_for_what(self, qtbot):
        reason = Message("waits until {name} has started", name="qwen3-8b")
        queued = replace(samples.deployment("a", state=State.QUEUED), queued_because=reason)
        view = DeploymentsView()
        qtbot.addWidget(view)
        view.set_deployments((queued,))
        state = view.model().index(0, Column.STATE)
        assert state.data() == state.data(Qt.ItemDataRole.ToolTipRole) == "waits until qwen3-8b has started"
        assert view.columnSpan(0, Column.STATE) == Column.VRAM - Column.STATE
        view.update_deployment(replace(queued, state=State.STARTING, queued_because=None))
        assert view.columnSpan(0, Column.STATE) == 1

    def test_what_was_not_measured_is_a_dash(self):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", state=State.LOADING),))
        assert text(model, 0, Column.VRAM) == "— / 7.1"
        assert text(model, 0, Column.SPEED) == "—"

    def test_fewer_layers_than_asked_for_are_shown_and_explained(self):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", applied=replace(samples.APPLIED, layers_offloaded=20)),))
        layers = model.index(0, Column.LAYERS)
        assert layers.data() == "20/37"
        assert "37" in layers.data(Qt.ItemDataRole.ToolTipRole)

    def test_a_claim_of_offloading_without_any_gpu_buffer_does_not_count(self):
        on_cpu = tuple(replace(buffer, device="CPU") for buffer in samples.APPLIED.buffers)
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", applied=replace(samples.APPLIED, buffers=on_cpu)),))
        assert text(model, 0, Column.LAYERS) == "0/37"

    def test_sorts_memory_as_a_number_beyond_32_bits(self):
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a", vram_bytes=80 * samples.GIB), samples.deployment("b")))
        assert model.index(0, Column.VRAM).data(SORT_ROLE) > model.index(1, Column.VRAM).data(SORT_ROLE)

    @pytest.mark.parametrize(
        ("gpus", "workers", "shown"),
        [
            ((), (), "CPU"),
            ((1,), (), "1"),
            ((0, 1), (), "0+1"),
            ((0, 1, 2, 3, 4, 5, 6, 7), (), "0–7"),
            ((3, 0, 1, 2, 6), (), "3+0–2+6"),
            ((0,), ("10.0.0.2:50052", "10.0.0.3:50052"), "0+RPC"),
        ],
    )
    def test_the_devices_fit_into_their_column(self, gpus, workers, shown):
        model = DeploymentsModel()
        deployment = samples.deployment("a")
        request = replace(deployment.plan.request, rpc_workers=workers)
        names = (*(f"GPU {index}" for index in gpus), *(f"RPC {worker}" for worker in workers))
        devices = tuple(samples.device_estimate(name, 1, 8) for name in names)
        estimate = replace(deployment.plan.estimate, devices=devices)
        plan = replace(deployment.plan, request=request, gpus=samples.planned_gpus(*gpus), estimate=estimate)
        model.set_deployments((replace(deployment, plan=plan),))
        assert text(model, 0, Column.GPU) == shown
        assert model.index(0, Column.GPU).data(Qt.ItemDataRole.ToolTipRole).split("\n") == list(names or ("CPU",))

    def test_a_gpu_has_the_place_of_now_and_its_name_where_it_has_none(self):
        model = DeploymentsModel()
        plan = replace(samples.plan(), gpus=samples.planned_gpus(1))
        deployment = samples.deployment("a", plan=plan, places=(("GPU-1", 0),))
        model.set_deployments((deployment,))
        assert text(model, 0, Column.GPU) == "0"
        assert model.index(0, Column.GPU).data(Qt.ItemDataRole.ToolTipRole) == "GPU 0"
        model.set_deployments((replace(deployment, places=(), lost_gpus=("GPU-1",)),))
        assert text(model, 0, Column.GPU) == "?"
        assert model.index(0, Column.GPU).data(Qt.ItemDataRole.ToolTipRole) == "RTX 4090, not there"
        assert text(model, 0, Column.STATE) == "RTX 4090 lost"
        model.set_deployments((replace(deployment, lost_gpus=("GPU-1",)),))
        assert text(model, 0, Column.STATE) == "GPU 0 lost"

    def test_a_gpu_of_which_an_earlier_version_kept_the_place_alone_is_not_taken_for_one_of_now(self):
        model = DeploymentsModel()
        plan = replace(samples.plan(), gpus=(PlannedGpu.unidentified(0),))
        model.set_deployments((samples.deployment("a", plan=plan),))
        assert text(model, 0, Column.GPU) == "?"
        assert model.index(0, Column.GPU).data(Qt.ItemDataRole.ToolTipRole) == "GPU 0 of its start"

    def test_speaks_korean(self):
        i18n.set_language("ko")
        model = DeploymentsModel()
        model.set_deployments((samples.deployment("a"),))
        assert text(model, 0, Column.STATE) == "실행 중"


@pytest.fixture
def view(qtbot):
    view = DeploymentsView()
    qtbot.addWidget(view)
    view.resize(900, 300)
    view.show()
    qtbot.waitExposed(view)
    return view


def cell(view, row, column):
    return view.visualRect(view.model().index(row, column))


def click(qtbot, view, place):
    qtbot.mouseMove(view.viewport(), place)
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)


class TestView:
    def test_the_current_row_is_told_and_told_again_when_it_changes(self, qtbot, view):
        view.set_deployments((samples.deployment("a"), samples.deployment("b")))
        view.select("a")
        with qtbot.waitSignal(view.current_changed) as chosen:
            view.select("b")
        assert chosen.args[0].id == "b"
        stopping = samples.deployment("b", state=State.STOPPING)
        with qtbot.waitSignal(view.current_changed) as moved:
            view.update_deployment(stopping)
        assert moved.args[0] == stopping
        with qtbot.assertNotEmitted(view.current_changed):
            view.update_deployment(samples.deployment("a", state=State.STOPPING))

    def test_a_row_that_goes_away_is_no_longer_current(self, view):
        view.set_deployments((samples.deployment("a"),))
        view.select("a")
        view.set_deployments(())
        assert view.current() is None

    def test_the_newest_is_chosen_where_none_was(self, view):
        view.set_deployments((samples.deployment("a"), samples.deployment("b")))
        assert view.current().id == "b"
        view.set_deployments((samples.deployment("a"), samples.deployment("b"), samples.deployment("c")))
        assert view.current().id == "b"

    def test_the_square_stops_a_live_one(self, qtbot, view):
        view.set_deployments((samples.deployment("a"),))
        with qtbot.waitSignal(view.stop_requested) as asked:
            click(qtbot, view, cell(view, 0, Column.ACTIONS).center())
        assert asked.args == ["a"]

    def test_the_cross_removes_an_ended_one(self, qtbot, view):
        view.set_deployments((samples.deployment("a", state=State.STOPPED),))
        with qtbot.waitSignal(view.dismiss_requested):
            click(qtbot, view, cell(view, 0, Column.ACTIONS).center())

    def test_a_failed_row_offers_its_fix(self, qtbot, view):
        failed = samples.failed_deployment()
        view.set_deployments((failed,))
        with qtbot.waitSignal(view.fix_requested) as asked:
            click(qtbot, view, cell(view, 0, Column.VRAM).center() - QPoint(60, 0))
        assert asked.args == [failed.id, failed.failure.fixes[0]]

    def test_a_stopped_row_offers_to_start_again(self, qtbot, view):
        view.set_deployments((samples.deployment("a", state=State.STOPPED),))
        left = cell(view, 0, Column.VRAM).left()
        with qtbot.waitSignal(view.restart_requested):
            click(qtbot, view, QPoint(left + 20, cell(view, 0, Column.VRAM).center().y()))

    @pytest.mark.parametrize(
        ("state", "signal"), [(State.RUNNING, "stop_requested"), (State.STOPPED, "dismiss_requested")]
    )
    def test_delete_ends_the_row(self, qtbot, view, state, signal):
        view.set_deployments((samples.deployment("a", state=state),))
        view.select("a")
        with qtbot.waitSignal(getattr(view, signal)):
            qtbot.keyClick(view, Qt.Key.Key_Delete)

    def test_delete_waits_for_what_is_stopping_already(self, qtbot, view):
        view.set_deployments((samples.deployment("a", state=State.STOPPING),))
        view.select("a")
        with qtbot.assertNotEmitted(view.stop_requested), qtbot.assertNotEmitted(view.dismiss_requested):
            qtbot.keyClick(view, Qt.Key.Key_Delete)

    def test_copy_asks_for_the_address(self, qtbot, view):
        view.set_deployments((samples.deployment("a"),))
        view.select("a")
        with qtbot.waitSignal(view.copy_url_requested):
            qtbot.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)

    def test_what_starts_with_launchdeck_is_marked_in_the_menu(self, view, qtbot):
        view.show_marks({"a"})
        for name, is_marked in (("a", True), ("b", False)):
            menu = view.menu_for(samples.deployment(name, name))
            (entry,) = [action for action in menu.actions() if action.text() == START]
            assert entry.isChecked() is is_marked
            with qtbot.waitSignal(view.mark_requested) as asked:
                entry.trigger()
            assert asked.args == [name, not is_marked]

    def test_enter_opens_the_menu(self, qtbot, view):
        view.set_deployments((samples.deployment("a"),))
        view.select("a")
        qtbot.keyClick(view, Qt.Key.Key_Return)
        menu = QApplication.activePopupWidget()
        assert [entry.text() for entry in menu.actions() if entry.text()][-2:] == ["Stop", START]
        menu.close()

    @pytest.mark.parametrize(
        ("deployment", "entries"),
        [
            (
                samples.deployment("a"),
                ["Open in browser", "Copy URL", "Copy API key", "Copy command", "Stop", START],
            ),
            (samples.deployment("a", state=State.LOADING), ["Copy command", "Stop", START]),
            (samples.deployment("a", state=State.STOPPING), ["Copy command", START]),
            (
                samples.failed_deployment(),
                ["Use 38 layers", "Copy command", "Show in the log", "Restart", "Remove", START],
            ),
        ],
    )
    def test_the_menu_has_what_makes_sense(self, view, deployment, entries):
        menu = view.menu_for(deployment)
        assert [entry.text() for entry in menu.actions() if not entry.isSeparator()] == entries

    def test_the_menu_does_what_it_says(self, qtbot, view):
        menu = view.menu_for(samples.deployment("a"))
        entries = {entry.text(): entry for entry in menu.actions()}
        for name, signal in (
            ("Open in browser", view.open_requested),
            ("Copy API key", view.copy_key_requested),
            ("Copy command", view.copy_command_requested),
        ):
            with qtbot.waitSignal(signal) as asked:
                entries[name].trigger()
            assert asked.args == ["a"]

    def test_the_menu_and_a_double_click_lead_to_the_failure(self, qtbot, view):
        view.set_deployments((samples.deployment("a"), samples.failed_deployment("b")))
        (entry,) = [e for e in view.menu_for(samples.failed_deployment("b")).actions() if e.text() == "Show in the log"]
        with qtbot.waitSignal(view.failure_requested) as asked:
            entry.trigger()
        assert asked.args == ["b"]
        heard = []
        view.failure_requested.connect(heard.append)
        for row in (0, 1):
            place = view.visualRect(view.model().index(row, Column.NAME)).center()
            qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
            qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
        assert heard == ["b"]

    def test_a_failure_has_the_room_of_the_columns_after_it(self, view):
        view.set_deployments((samples.deployment("a"), samples.failed_deployment("b")))
        assert view.columnSpan(1, Column.STATE) == Column.VRAM - Column.STATE
        for column in (Column.GPU, Column.LAYERS):  # where it was to run stays in sight
            assert cell(view, 1, column).isValid()
            assert not cell(view, 1, column).intersects(cell(view, 1, Column.STATE))
            assert view.model().index(1, column).data()
        assert view.columnSpan(0, Column.STATE) == 1
        view.update_deployment(samples.deployment("b"))
        assert view.columnSpan(1, Column.STATE) == 1

    def test_when_narrow_the_least_important_columns_go_first(self, view):
        assert not any(view.isColumnHidden(column) for column in Column)
        view.resize(560, 300)
        assert view.isColumnHidden(Column.SPEED)
        assert not view.isColumnHidden(Column.LAYERS)
        view.resize(330, 300)
        assert not view.isColumnHidden(Column.NAME)
        assert not view.isColumnHidden(Column.STATE)
        assert view.columnWidth(Column.STATE) >= 80

    def test_a_header_sorts(self, view):
        view.set_deployments((samples.deployment("a", "zeta"), samples.deployment("b", "alpha")))
        view.sortByColumn(Column.NAME, Qt.SortOrder.AscendingOrder)
        assert view.model().index(0, Column.NAME).data() == "alpha"
        view.select("a")
        assert view.current().plan.model_id == "zeta"

    def test_without_deployments_it_says_what_to_do(self, view):
        bare = view.grab().toImage()
        view.set_deployments((samples.deployment("a"),))
        view.set_deployments(())
        assert view.grab().toImage() == bare
        colors = {bare.pixelColor(x, y).name() for x in range(200, 700) for y in range(130, 200)}
        assert len(colors) > 5  # the anti-aliased sentence

    @pytest.mark.parametrize("name", ["dark", "light"])
    def test_memory_is_painted_in_the_models_own_colour(self, qapp, view, name):
        theme.apply(qapp, name)
        view.set_deployments((samples.deployment("a"), samples.deployment("b", vram_bytes=samples.GIB)))
        image = view.viewport().grab().toImage()
        for row, key in enumerate("ab"):
            area = cell(view, row, Column.VRAM)
            painted = {image.pixelColor(x, area.center().y()).name() for x in range(area.left(), area.right())}
            assert model_color(key) in painted
        assert model_color("a") != model_color("b")

    @pytest.mark.parametrize("state", list(State))
    def test_every_state_has_a_sign_of_its_own(self, view, state):
        view.set_deployments((samples.deployment("a", state=state, progress=0.5, applied=Applied()),))
        image = view.viewport().grab().toImage()
        area = cell(view, 0, Column.NAME)
        background = image.pixelColor(area.left() + 2, area.center().y())
        sign = {image.pixelColor(x, area.center().y()).name() for x in range(area.left() + 6, area.left() + 20)}
        assert sign - {QColor(background).name()}
