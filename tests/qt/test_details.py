from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton, QTableView

from fakes import samples
from launchdeck.domain.deployment import Applied, Buffer, State
from launchdeck.domain.plan import Estimate, LayerPlan
from launchdeck.domain.request import ALL_LAYERS, FlashAttention
from launchdeck.ui.deployments.details import DetailsModel, DetailsTab
from launchdeck.ui.deployments.details_rows import DetailRow, detail_rows


def row(deployment, label):
    return next(row for row in detail_rows(deployment) if row.label == label)


def with_plan(deployment, **changes):
    return replace(deployment, plan=replace(deployment.plan, **changes))


class TestRows:
    def test_asked_predicted_applied_and_measured_stand_side_by_side(self):
        deployment = samples.deployment()
        assert row(deployment, "Layers on GPUs") == DetailRow("Layers on GPUs", "37", "37/37", "37/37", agrees=True)
        assert row(deployment, "Context") == DetailRow("Context", "8,192", "8,192", "8,192", agrees=True)
        assert row(deployment, "Slots") == DetailRow("Slots", "4", applied="4", agrees=True)
        assert row(deployment, "Weights on GPU 0").predicted == "5.25 GiB"
        assert row(deployment, "Weights on GPU 0").applied == "4.35 GiB −0.90"
        assert row(deployment, "KV cache on GPU 0").asked == "f16"
        assert row(deployment, "Total on GPU 0").measured == "7.20 GiB +0.10"

    def test_what_the_engine_keeps_in_ram_is_told_apart(self):
        deployment = samples.deployment(rss_bytes=samples.GIB)
        assert row(deployment, "Weights on RAM").applied == "0.29 GiB +0.06"
        assert row(deployment, "Compute buffers on RAM").applied == "0.02 GiB"
        assert row(deployment, "Total on RAM").measured == "1.00 GiB"

    def test_the_prompt_cache_that_fills_with_time_is_not_compared_with_what_is_there(self):
        deployment = samples.deployment(rss_bytes=samples.GIB)
        estimate = deployment.plan.estimate
        host = replace(estimate.host, weights_bytes=samples.GIB, kv_bytes=0, compute_bytes=0)
        filled = replace(estimate, host=replace(host, overhead_bytes=8 * samples.GIB))
        assert row(with_plan(deployment, estimate=filled), "Total on RAM").predicted == "1.00 GiB"

    def test_another_number_of_layers_or_context_than_asked_for_is_marked(self):
        deployment = samples.deployment(applied=replace(samples.APPLIED, layers_offloaded=20, n_ctx=4096, n_slots=1))
        assert [row(deployment, label).agrees for label in ("Layers on GPUs", "Context", "Slots")] == [False] * 3

    def test_a_part_of_the_context_for_each_slot_is_told_and_marked(self):
        applied = replace(samples.APPLIED, n_ctx_slot=2048)
        assert row(samples.deployment(applied=applied), "Context") == DetailRow(
            "Context", "8,192", "8,192", "8,192, 2,048 a slot", agrees=False
        )

    def test_no_slot_needs_more_than_the_model_can(self):
        plan = samples.plan()
        deployment = samples.deployment(applied=replace(samples.APPLIED, n_ctx=4 * 40960, n_ctx_slot=40960))
        deployment = with_plan(deployment, n_ctx=4 * 40960, request=replace(plan.request, n_ctx=4 * 40960))
        line = row(deployment, "Context")
        assert (line.applied, line.agrees) == ("163,840, 40,960 a slot", True)

    def test_fewer_slots_than_asked_for_are_as_planned_where_the_engine_was_told_so(self):
        deployment = with_plan(samples.deployment(applied=replace(samples.APPLIED, n_slots=1)), n_slots=1)
        assert row(deployment, "Slots") == DetailRow("Slots", "4", "1", "1", agrees=True)

    def test_before_the_engine_has_spoken_nothing_is_claimed(self):
        deployment = samples.deployment(state=State.LOADING)
        assert all(line.applied == "" and line.agrees is None for line in detail_rows(deployment))

    def test_auto_and_all_are_asked_for_in_words(self):
        deployment = samples.deployment()
        automatic = with_plan(deployment, layers=LayerPlan(None, 37, 37, 37))
        assert row(automatic, "Layers on GPUs").asked == "auto"
        everything = with_plan(deployment, layers=LayerPlan(ALL_LAYERS, 37, 37, 37))
        assert row(everything, "Layers on GPUs").asked == "all"

    def test_every_gpu_gets_the_buffers_of_its_own_engine_device(self):
        plan = samples.plan()
        estimate = replace(
            plan.estimate, devices=(samples.device_estimate("a", 4, 12), samples.device_estimate("b", 3, 12))
        )
        gpus = samples.planned_gpus(1, 0)
        buffers = (Buffer("CUDA0", "weights", 3 * samples.GIB), Buffer("CUDA1", "weights", 2 * samples.GIB))
        deployment = samples.deployment(applied=Applied(layers_offloaded=37, buffers=buffers))
        deployment = with_plan(deployment, estimate=estimate, gpus=gpus, device_names=("CUDA0", "CUDA1"))
        assert row(deployment, "Weights on GPU 1").applied == "3.00 GiB +0.04"
        assert row(deployment, "Weights on GPU 0").applied == "2.00 GiB −0.22"
        assert row(deployment, "Total on GPU 1").measured == ""
        assert row(deployment, "Total on all GPUs").measured == "7.20 GiB +0.20"

    def test_what_the_driver_counts_stands_beside_each_gpu(self):
        plan = samples.plan()
        devices = (samples.device_estimate("a", 4, 12), samples.device_estimate("b", 3, 12))
        deployment = samples.deployment(
            vram_bytes=8 * samples.GIB, vram_by_gpu=(("GPU-0", 3 * samples.GIB), ("GPU-1", 5 * samples.GIB))
        )
        deployment = with_plan(
            deployment,
            estimate=replace(plan.estimate, devices=devices),
            gpus=samples.planned_gpus(1, 0),
            device_names=("CUDA0", "CUDA1"),
        )
        assert row(deployment, "Total on GPU 1").measured == "5.00 GiB +1.00"
        assert row(deployment, "Total on GPU 0").measured == "3.00 GiB"
        assert row(deployment, "Total on all GPUs").measured == "8.00 GiB +1.00"

    def test_flash_attention_cache_types_and_devices_are_proved_too(self):
        applied = replace(
            samples.APPLIED, flash_attention=False, cache_types=("q8_0", "f16"), devices=("CUDA0", "CUDA1")
        )
        deployment = samples.deployment(applied=applied)
        request = replace(deployment.plan.request, flash_attention=FlashAttention.ON, cache_type_k="q8_0")
        argv = (*deployment.plan.argv, "--device", "CUDA1,CUDA0")
        deployment = with_plan(deployment, request=request, argv=argv)
        assert row(deployment, "Flash attention") == DetailRow("Flash attention", "on", "on", "off", agrees=False)
        assert row(deployment, "KV cache, K, V") == DetailRow(
            "KV cache, K, V", "q8_0, f16", "", "q8_0, f16", agrees=True
        )
        assert row(deployment, "Devices") == DetailRow("Devices", "CUDA1, CUDA0", "", "CUDA0, CUDA1", agrees=False)

    def test_what_was_left_to_the_engine_cannot_differ(self):
        applied = replace(samples.APPLIED, flash_attention=False)
        assert row(samples.deployment(applied=applied), "Flash attention").agrees is None

    def test_on_the_cpu_there_is_no_line_for_a_gpu(self):
        deployment = samples.deployment()
        estimate = Estimate((), deployment.plan.estimate.host)
        deployment = with_plan(deployment, estimate=estimate, request=replace(deployment.plan.request, gpu_uuids=()))
        assert not any("GPU 0" in line.label or "all GPUs" in line.label for line in detail_rows(deployment))


def test_the_model_is_sound_and_marks_with_a_sign_and_a_word(qtmodeltester):
    model = DetailsModel()
    model.show_rows("qwen3-8b", (DetailRow("Context", "8,192", "8,192", "4,096", agrees=False),))
    qtmodeltester.check(model)
    applied = model.index(0, 3)
    assert applied.data() == "▲ differs  4,096"
    assert applied.data(Qt.ItemDataRole.ToolTipRole)
    assert model.headerData(0, Qt.Orientation.Horizontal) == "qwen3-8b"


def facts(tab):
    return {label.accessibleName(): label.text() for label in tab.findChildren(QLabel) if label.accessibleName()}


class TestTab:
    def test_tells_everything_about_a_running_deployment(self, qtbot):
        tab = DetailsTab()
        qtbot.addWidget(tab)
        tab.show_deployment(samples.deployment())
        told = facts(tab)
        assert told["URL"] == "http://127.0.0.1:8001/v1"
        assert told["PID"] == "4242"
        assert told["Because"] == "the file is GGUF"
        assert "--n-gpu-layers 37" in told["Command"]
        assert "b10605" in told["Engine"]
        assert told["Uptime"]
        assert "Failure" not in told

    def test_tells_why_it_failed_what_to_do_and_what_proves_it(self, qtbot):
        tab = DetailsTab()
        qtbot.addWidget(tab)
        tab.show_deployment(samples.deployment())
        tab.show_deployment(samples.failed_deployment())
        told = facts(tab)
        assert told["Failure"] == "It needs 48 GiB, 32 GiB are free."
        assert told["What to do"] == "Put fewer layers on the GPU."
        assert told["Evidence"].startswith("ggml_backend_cuda_buffer_type_alloc_buffer")

    def test_leads_to_the_failure_in_the_log(self, qtbot):
        tab = DetailsTab()
        qtbot.addWidget(tab)
        tab.show_deployment(samples.deployment())
        (button,) = [b for b in tab.findChildren(QPushButton) if b.text() == "Show in the log"]
        assert button.isHidden()
        tab.show_deployment(samples.failed_deployment("f"))
        assert not button.isHidden()
        with qtbot.waitSignal(tab.failure_requested) as asked:
            button.click()
        assert asked.args == ["f"]

    def test_without_a_deployment_there_is_a_sentence_and_no_table(self, qtbot):
        tab = DetailsTab()
        qtbot.addWidget(tab)
        tab.show()
        tab.show_deployment(samples.deployment())
        assert tab.findChild(QTableView).isVisible()
        tab.show_deployment(None)
        assert not tab.findChild(QTableView).isVisible()
        assert any("Choose a deployment" in label.text() for label in tab.findChildren(QLabel) if label.isVisible())

    def test_the_same_moment_again_resets_nothing(self, qtbot):
        tab = DetailsTab()
        qtbot.addWidget(tab)
        tab.show_deployment(samples.deployment())
        with qtbot.assertNotEmitted(tab.findChild(QTableView).model().modelReset):
            tab.show_deployment(samples.deployment(rss_bytes=None))

    def test_the_uptime_stands_still_once_it_has_ended(self, qtbot):
        tab = DetailsTab()
        qtbot.addWidget(tab)
        tab.show_deployment(samples.deployment(state=State.STOPPED, ready_at_s=1000.0, ended_at_s=1090.0))
        assert facts(tab)["Uptime"] == "1 min 30 s"
