"""Request and machine to plan."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fakes.gguf_models import bert, llama
from fakes.gguf_rare import grok
from fakes.gguf_zoo import deepseek2, gemma4, mixtral
from fakes.samples import EMBEDDED, LLAMA_SERVER, gpu, inventory, two_gpus
from launchdeck.domain.errors import Cause, Failure, LaunchdeckError
from launchdeck.domain.gpu import GpuMask, GpuState, GpuType, Inventory, PlannedGpu
from launchdeck.domain.model import ServerType
from launchdeck.domain.plan import EngineInfo, LaunchPlan, Tier
from launchdeck.domain.request import CPU_ONLY, EVEN_SPLIT, BackendChoice, FlashAttention, ModelLoadRequest
from launchdeck.domain.text import Message
from launchdeck.engines.document import command_line, plan_document
from launchdeck.engines.plan import PlanningContext, plan_launch
from launchdeck.engines.planner import Planner
from launchdeck.models.describe import describe
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import MemoryModel
from launchdeck.settings.schema import Settings
from truth.engine import run

if TYPE_CHECKING:
    from truth.oracle import Truth

MIB = 1024 * 1024
ON_CPU = {"gpu_uuids": (), "rpc_workers": (), "n_gpu_layers": 0}
LAYERS = 33
ABLE = replace(LLAMA_SERVER, supports_rpc=True)
NO_GPU = inventory()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of 7 GB, a small one, and an encoder: headers without data."""
    folder = tmp_path_factory.mktemp("models")
    size = {"n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 8, "n_ff": 14336, "n_vocab": 32000}
    llama(**size, n_ctx=32768, quant="q8_0").write(folder / "big model.gguf")
    llama(n_ctx=4096).write(folder / "small.gguf")
    bert().write(folder / "encoder.gguf")
    grok().write(folder / "grok.gguf")
    deepseek2().write(folder / "latent.gguf")
    llama(architecture="tomorrow", n_ctx=4096).write(folder / "unknown.gguf")
    llama(n_embd=320, n_head_kv=2, n_ctx=4096).write(folder / "heads of 80.gguf")
    llama(n_embd=320, n_head_kv=1, n_ctx=4096).write(folder / "one head of 80.gguf")
    gemma4(12, narrow_length=80).write(folder / "windows.gguf")
    return folder


@pytest.fixture
def plan_of(folder: Path) -> Any:
    def plan_of(
        name: str = "big model",
        *,
        machine: Inventory | None = None,
        engines: tuple[EngineInfo, ...] = (ABLE, EMBEDDED),
        settings: Settings | None = None,
        **request: Any,
    ) -> LaunchPlan:
        header = read_header(folder / f"{name}.gguf")
        context = PlanningContext(
            inventory=two_gpus() if machine is None else machine,
            engines=engines,
            settings=settings or Settings(),
            model=describe(header),
            memory=MemoryModel.of(header),
        )
        return plan_launch(ModelLoadRequest(header.path, **request), context, 8001)

    return plan_of


@pytest.fixture
def failure_of(plan_of: Any) -> Any:
    def failure_of(*arguments: Any, **request: Any) -> Failure:
        with pytest.raises(LaunchdeckError) as caught:
            plan_of(*arguments, **request)
        return caught.value.failure

    return failure_of


def option(plan: LaunchPlan, name: str) -> str | None:
    return plan.argv[plan.argv.index(name) + 1] if name in plan.argv else None


def warnings_of(plan: LaunchPlan) -> str:
    return " ".join(map(str, plan.warnings))


@pytest.mark.parametrize(("asked", "resolved"), [(-1, LAYERS), (1, 1), (20, 20), (LAYERS, LAYERS), (0, 0)])
def test_the_layers_asked_for_stand_in_the_command(plan_of: Any, asked: int, resolved: int) -> None:
    plan = plan_of(gpu_uuids=("GPU-0",), n_gpu_layers=asked)
    assert (plan.layers.asked, plan.layers.resolved, plan.layers.total) == (asked, resolved, LAYERS)
    assert option(plan, "--n-gpu-layers") == str(resolved)


def test_auto_takes_the_largest_number_that_leaves_the_margin(plan_of: Any) -> None:
    machine = inventory(gpu(0, "RTX 4090", GpuType.NVIDIA, 6, 0.5))
    plan = plan_of(machine=machine, n_ctx=4096)
    assert 0 < plan.layers.resolved < LAYERS
    assert plan.layers.resolved == plan.layers.largest_that_fits
    device = plan.estimate.devices[0]
    assert device.total_bytes + 256 * MIB <= device.free_bytes
    wider = plan_of(machine=machine, n_ctx=4096, settings=Settings(memory_margin_mib=2048))
    assert wider.layers.resolved < plan.layers.resolved


def test_what_the_estimate_says_belongs_to_the_command(plan_of: Any) -> None:
    few, all_layers = (plan_of(gpu_uuids=("GPU-0",), n_gpu_layers=layers) for layers in (5, LAYERS))
    assert few.estimate.devices[0].weights_bytes < all_layers.estimate.devices[0].weights_bytes
    assert few.estimate.host.weights_bytes > all_layers.estimate.host.weights_bytes
    assert few.estimate.host.free_bytes == two_gpus().cpu.sample.free_memory_bytes


def test_where_the_choice_is_ours_the_emptiest_gpu_that_can_be_used(plan_of: Any) -> None:
    machine = inventory(
        gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 20), gpu(1, "RTX 3090", GpuType.NVIDIA, 24, 2), *two_gpus().gpus[1:]
    )
    plan = plan_of(machine=machine)
    assert plan.request.gpu_uuids == ("GPU-1",)
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert plan.device_names == ("CUDA0",)
    assert plan.estimate.devices[0].device == "GPU 1"
    assert any("most free memory" in str(reason) for reason in plan.reasons)


def test_a_gpu_that_only_the_choice_of_engine_misses_is_not_taken_silently_off(plan_of: Any, failure_of: Any) -> None:
    automatic = plan_of(engines=(EMBEDDED,))
    assert automatic.layers.resolved == 0
    assert "CPU" in warnings_of(automatic)
    failure = failure_of(engines=(EMBEDDED,), gpu_uuids=("GPU-0",))
    assert failure.cause is Cause.ENGINE_UNSUITED
    assert failure.fixes


def test_the_cpu_sees_no_gpu_at_all(plan_of: Any) -> None:
    for plan in (plan_of(gpu_uuids=CPU_ONLY), plan_of(gpu_uuids=("GPU-0",), n_gpu_layers=0), plan_of(machine=NO_GPU)):
        env = dict(plan.env)
        assert env["CUDA_VISIBLE_DEVICES"] == env["HIP_VISIBLE_DEVICES"] == "-1"
        assert option(plan, "--device") == "none"
        assert plan.layers.resolved == 0


def test_the_chosen_gpu_stays_in_sight_at_0_layers(plan_of: Any) -> None:
    plan = plan_of(gpu_uuids=("GPU-0",), n_gpu_layers=0, engines=(EMBEDDED,))
    assert [device.total_bytes for device in plan.estimate.devices] == [0]


@pytest.mark.parametrize("asked", [5, -1])
def test_layers_on_the_cpu_are_ignored_and_that_is_said(plan_of: Any, asked: int) -> None:
    plan = plan_of(gpu_uuids=CPU_ONLY, n_gpu_layers=asked)
    assert plan.layers.resolved == 0
    assert "ignored" in warnings_of(plan)
    assert not plan_of(gpu_uuids=CPU_ONLY).warnings


def test_two_gpus_share_by_their_free_memory_in_command_and_estimate(plan_of: Any) -> None:
    machine = inventory(gpu(0, "A", GpuType.NVIDIA, 24, 12), gpu(1, "B", GpuType.NVIDIA, 24, 20))
    plan = plan_of(machine=machine, gpu_uuids=("GPU-1", "GPU-0"), n_gpu_layers=-1)
    assert option(plan, "--tensor-split") == "4,12"
    assert option(plan, "--device") == "CUDA0,CUDA1"
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-0"
    first, second = plan.estimate.devices
    assert (first.device, second.device) == ("GPU 1", "GPU 0")
    assert first.weights_bytes < second.weights_bytes


def test_what_a_driver_keeps_on_a_card_where_nothing_was_started(plan_of: Any) -> None:
    card = gpu(0, "NVIDIA H200", GpuType.NVIDIA, 140, 0)
    hopper = replace(card, gpu=replace(card.gpu, compute_capability=(9, 0)))
    (device,) = plan_of(machine=inventory(hopper), gpu_uuids=("GPU-0",)).estimate.devices
    assert (device.overhead_bytes, device.overhead_tier) == (590 * MIB, Tier.FORMULA)
    (device,) = plan_of(machine=inventory(card), gpu_uuids=("GPU-0",)).estimate.devices
    assert device.overhead_bytes == 300 * MIB


def test_an_amd_gpu_gets_its_own_mask(plan_of: Any) -> None:
    rocm = replace(ABLE, gpu_types=frozenset({GpuType.AMD}))
    plan = plan_of(engines=(rocm,), gpu_uuids=("GPU-1",))
    assert dict(plan.env)["HIP_VISIBLE_DEVICES"] == "GPU-1"
    assert "CUDA_VISIBLE_DEVICES" in plan.env_unset
    assert plan.device_names == ("ROCm0",)


def test_a_vulkan_engine_is_told_its_devices_and_no_mask(plan_of: Any) -> None:
    vulkan = replace(
        ABLE,
        gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD}),
        flags=frozenset({"--device", "--n-gpu-layers", "--tensor-split"}),
        devices=(
            "Vulkan0: AMD Radeon RX 7900 XTX (RADV NAVI31) (24560 MiB, 20000 MiB free)",
            "Vulkan1: NVIDIA GeForce RTX 4090 (24564 MiB, 12000 MiB free)",
        ),
    )
    plan = plan_of(engines=(vulkan,), gpu_uuids=("GPU-0", "GPU-1"))
    assert option(plan, "--device") == "Vulkan1,Vulkan0"
    assert not {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"} & set(dict(plan.env))


CUDA = replace(ABLE, devices=("CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 12000 MiB free)",))


@pytest.mark.parametrize(("key", "value"), [("q8_0", "f16"), ("f16", "bf16"), ("iq4_nl", "f32")])
def test_a_gpu_without_flash_attention_for_the_cache_needs_more(plan_of: Any, key: str, value: str) -> None:
    asked = {"gpu_uuids": ("GPU-0",), "n_gpu_layers": 20, "cache_type_k": key, "cache_type_v": value}
    plan = plan_of(engines=(CUDA,), **asked)
    scores_bytes = 4 * 512 * plan.n_ctx * 32
    assert plan.flash_attention is False
    assert plan.estimate.devices[0].overhead_bytes == 300 * MIB + scores_bytes // 2
    assert plan.estimate.devices[0].compute_bytes > scores_bytes
    assert f"no flash attention on a GPU for K as {key} and V as {value}" in warnings_of(plan)
    elsewhere = plan_of(**asked)  # nothing is known of an engine that has shown no GPU
    assert elsewhere.flash_attention is True
    assert elsewhere.estimate.devices[0].compute_bytes < scores_bytes


def test_attention_without_flash_takes_more_while_it_is_used(plan_of: Any) -> None:
    asked = {"gpu_uuids": ("GPU-0",), "n_gpu_layers": 20, "flash_attention": FlashAttention.OFF}
    plan = plan_of(engines=(CUDA,), **asked)
    elsewhere = plan_of(**asked)
    half_of_scores_bytes = 2 * 512 * plan.n_ctx * 32
    for part in ("weights_bytes", "kv_bytes", "compute_bytes"):
        assert getattr(plan.estimate.devices[0], part) == getattr(elsewhere.estimate.devices[0], part)
    assert (
        plan.estimate.devices[0].overhead_bytes - elsewhere.estimate.devices[0].overhead_bytes == half_of_scores_bytes
    )


@pytest.mark.parametrize("types", [("f16", "f16"), ("q8_0", "q8_0"), ("q4_0", "q4_0"), ("bf16", "bf16")])
def test_a_gpu_has_flash_attention_for_equal_types(plan_of: Any, types: tuple[str, str]) -> None:
    plan = plan_of(engines=(CUDA,), gpu_uuids=("GPU-0",), n_gpu_layers=20, cache_type_k=types[0], cache_type_v=types[1])
    assert plan.flash_attention is True
    assert not plan.warnings


@pytest.mark.parametrize(
    "asked",
    [
        {"cache_type_k": "q8_0", "cache_type_v": "q4_0"},
        {"cache_type_k": "q5_1", "cache_type_v": "q5_1"},
        {"cache_type_k": "q8_0", "flash_attention": FlashAttention.ON},
    ],
)
def test_where_flash_attention_is_forced_the_cpu_does_it(plan_of: Any, asked: dict[str, Any]) -> None:
    plan = plan_of(engines=(CUDA,), gpu_uuids=("GPU-0",), n_gpu_layers=20, **asked)
    assert plan.flash_attention is True
    assert "the CPU computes the attention" in warnings_of(plan)
    assert not plan_of(engines=(CUDA,), gpu_uuids=("GPU-0",), n_gpu_layers=1, **asked).warnings


def test_a_gpu_without_flash_attention_for_the_heads(plan_of: Any) -> None:
    asked = {"server_type": ServerType.EMBEDDING, "gpu_uuids": ("GPU-0",), "engines": (CUDA,)}
    plan = plan_of("encoder", **asked)
    assert plan.flash_attention is False
    assert not plan.warnings  # a small model's heads are as they are
    assert "for the heads of this model" in warnings_of(plan_of("encoder", **asked, flash_attention=FlashAttention.ON))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n_gpu_layers": 3}, "on"),
        ({"n_gpu_layers": 3, "flash_attention": FlashAttention.OFF}, "off"),
        ({"n_gpu_layers": 3, "cache_type_v": "bf16"}, None),
        ({"n_gpu_layers": -1}, None),
        ({"n_gpu_layers": 0}, None),
    ],
)
def test_llama_cpp_is_not_left_to_give_up_flash_attention(
    plan_of: Any, asked: dict[str, Any], told: str | None
) -> None:
    plan = plan_of("windows", engines=(CUDA,), gpu_uuids=("GPU-0",), **asked)
    assert ("--flash-attn" in plan.argv) is (told is not None)
    assert told is None or option(plan, "--flash-attn") == told
    assert "--flash-attn" not in plan_of(engines=(CUDA,), gpu_uuids=("GPU-0",), n_gpu_layers=3).argv


def test_workers_compute_any_attention(plan_of: Any) -> None:
    plan = plan_of(engines=(CUDA,), gpu_uuids=CPU_ONLY, rpc_workers=("127.0.0.1:50052",), cache_type_k="q8_0")
    assert plan.flash_attention is True
    assert "attention" not in warnings_of(plan)


def test_two_vendors_without_vulkan_are_refused(failure_of: Any) -> None:
    both = replace(ABLE, gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD}))
    assert "two vendors" in str(failure_of(engines=(both,), gpu_uuids=("GPU-0", "GPU-1")).message)


def test_workers_come_after_the_gpus(plan_of: Any) -> None:
    listed = replace(
        ABLE, devices=("RPC0: 127.0.0.1:50053 (8192 MiB, 4096 MiB free)", "CUDA0: X (24 MiB, 12 MiB free)")
    )
    workers = ("127.0.0.1:50052", "127.0.0.1:50053")
    plan = plan_of(engines=(listed,), gpu_uuids=("GPU-0",), rpc_workers=workers, n_gpu_layers=20)
    assert option(plan, "--rpc") == ",".join(workers)
    assert option(plan, "--device") == "CUDA0,RPC0,RPC1"
    assert plan.device_names == ("CUDA0", "RPC0[127.0.0.1:50052]", "RPC0[127.0.0.1:50053]")
    assert [device.free_bytes for device in plan.estimate.devices[1:]] == [None, 4096 * MIB]
    assert plan.layers.largest_that_fits is None


def test_workers_alone_hide_the_gpus_of_this_machine(plan_of: Any) -> None:
    plan = plan_of(gpu_uuids=CPU_ONLY, rpc_workers=("127.0.0.1:50052",))
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert plan.layers.resolved == LAYERS
    assert "not known" in warnings_of(plan)


def masked(machine: Inventory, *places: int, mask: GpuMask | None) -> Inventory:
    """The machine, with the GPUs at these places hidden from us."""
    readings = (
        replace(reading, gpu=replace(reading.gpu, ours=False, hidden_by=mask)) if place in places else reading
        for place, reading in enumerate(machine.gpus)
    )
    return replace(machine, gpus=tuple(readings))


MASK = GpuMask("CUDA_VISIBLE_DEVICES=1")
TWO_ALIKE = inventory(gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 1), gpu(1, "RTX 4090", GpuType.NVIDIA, 24, 6))


def test_a_gpu_that_is_not_ours_is_never_taken(plan_of: Any, failure_of: Any) -> None:
    machine = masked(TWO_ALIKE, 0, mask=MASK)
    plan = plan_of(machine=machine)
    assert plan.request.gpu_uuids == ("GPU-1",)
    assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    failure = failure_of(machine=machine, gpu_uuids=("GPU-1", "GPU-0"))
    assert str(failure) == (
        "GPU 0 (RTX 4090) is hidden from Launchdeck by CUDA_VISIBLE_DEVICES=1. "
        "Choose another GPU, or start Launchdeck without that variable."
    )
    recorded = failure_of(machine=masked(TWO_ALIKE, 0, mask=None), gpu_uuids=("GPU-0",))
    assert str(recorded) == "GPU 0 (RTX 4090) is hidden from Launchdeck. Choose another GPU."


def test_a_machine_without_a_gpu_of_ours_says_why_it_is_the_cpu(plan_of: Any, failure_of: Any) -> None:
    plan = plan_of(machine=masked(TWO_ALIKE, 0, 1, mask=MASK))
    assert (plan.request.gpu_uuids, plan.layers.resolved) == ((), 0)
    assert warnings_of(plan) == (
        "GPUs of this machine are hidden from Launchdeck by CUDA_VISIBLE_DEVICES=1: the model will run on the CPU."
    )
    assert warnings_of(plan_of(machine=masked(TWO_ALIKE, 0, 1, mask=MASK), n_gpu_layers=0)) == ""
    doubtful = masked(TWO_ALIKE, 0, 1, mask=replace(MASK, doubt=Message("Nobody can tell.")))
    assert warnings_of(plan_of(machine=doubtful)) == "Nobody can tell."
    assert str(failure_of(machine=doubtful, gpu_uuids=("GPU-1",)).advice) == "Nobody can tell."


def test_a_vulkan_engine_is_kept_off_what_its_mask_hides(plan_of: Any, failure_of: Any) -> None:
    vulkan = replace(
        LLAMA_SERVER,
        gpu_types=frozenset({GpuType.NVIDIA, GpuType.AMD}),
        flags=frozenset({"--device"}),
        devices=("Vulkan0: AMD Radeon RX 7900 XTX (24560 MiB, 20000 MiB free)",
                 "Vulkan1: NVIDIA GeForce RTX 4090 (24564 MiB, 12000 MiB free)"),
        hidden_devices=frozenset({"Vulkan0"}),
    )  # fmt: skip
    plan = plan_of(engines=(vulkan,))
    assert (plan.request.gpu_uuids, option(plan, "--device")) == (("GPU-0",), "Vulkan1")
    failure = failure_of(engines=(vulkan,), gpu_uuids=("GPU-1",))
    assert "GGML_VK_VISIBLE_DEVICES" in str(failure.advice)


def test_memory_that_spills_into_ram_is_taken_away_and_told(folder: Path) -> None:
    def plan_in(environ: dict[str, str], **request: Any) -> LaunchPlan:
        planner = Planner(Settings, environ=environ)
        planner.inventory, planner.engines = two_gpus(), (ABLE,)
        return planner.plan(ModelLoadRequest(folder / "small.gguf", **request), 8001)

    name = "GGML_CUDA_ENABLE_UNIFIED_MEMORY"
    for value in ("0", "1"):
        plan = plan_in({name: value}, gpu_uuids=("GPU-0",))
        assert name in plan.env_unset
        assert name in warnings_of(plan)
    assert name not in warnings_of(plan_in({name: "1"}, n_gpu_layers=0))
    without = plan_in({"PATH": "/bin"}, gpu_uuids=("GPU-0",))
    assert name in without.env_unset
    assert name not in warnings_of(without)


def test_a_sleeping_gpu_counts_as_empty_and_a_lost_one_is_refused(plan_of: Any, failure_of: Any) -> None:
    card = gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 4)
    asleep = replace(card, sample=replace(card.sample, free_memory_bytes=None, state=GpuState.ASLEEP))
    assert plan_of(machine=inventory(asleep), gpu_uuids=("GPU-0",)).layers.resolved == LAYERS
    for state in (GpuState.LOST, GpuState.STALLED):
        lost = replace(card, sample=replace(card.sample, free_memory_bytes=None, state=state))
        assert "does not answer" in str(failure_of(machine=inventory(lost), gpu_uuids=("GPU-0",)))


def test_a_sleeping_gpu_with_more_memory_is_chosen_before_a_busy_one(plan_of: Any) -> None:
    busy, card = (gpu(n, f"RTX {n}", GpuType.NVIDIA, 24, 8) for n in range(2))
    asleep = replace(card, sample=replace(card.sample, free_memory_bytes=None, state=GpuState.ASLEEP))
    assert plan_of(machine=inventory(busy, asleep)).request.gpu_uuids == ("GPU-1",)


def test_where_the_free_memory_cannot_be_measured_no_more_is_placed_than_the_gpu_has(plan_of: Any) -> None:
    card = gpu(0, "RTX 4090", GpuType.NVIDIA, 1, 0)
    blind = replace(card, sample=replace(card.sample, used_memory_bytes=None, free_memory_bytes=None))
    plan = plan_of(machine=inventory(blind), gpu_uuids=("GPU-0",))
    assert plan.estimate.devices[0].free_bytes == 1024 * MIB
    assert plan.layers == plan_of(machine=inventory(card), gpu_uuids=("GPU-0",)).layers
    assert "cannot be measured" in warnings_of(plan)


def test_nothing_fits(plan_of: Any) -> None:
    plan = plan_of(machine=inventory(gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 23.9)), gpu_uuids=("GPU-0",))
    assert plan.layers.resolved == 0
    assert "Not one layer fits" in warnings_of(plan)
    assert option(plan, "--device") == "none"


YARN = ("--rope-scaling", "yarn", "--rope-scale", "4")


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        (YARN, 16384),
        (("--rope-scaling", "yarn", "--rope-freq-scale", "0.25"), 16384),
        ((*YARN, "--yarn-orig-ctx", "2048"), 8192),
        ((*YARN, "--yarn-orig-ctx", "512"), 4096),  # never less than it was trained with
        ((*YARN, "--rope-scale", "2"), 8192),  # the last one counts
        (("--rope-scaling", "linear", "--rope-scale", "4"), 4096),
        (("--rope-scale", "4"), 4096),
        (("--rope-scaling", "yarn"), 4096),
        (("--rope-scaling", "yarn", "--rope-scale", "many"), 4096),
        (("--rope-scaling", "yarn", "--rope-scale", "1e-400"), 4096),
    ],
)
@pytest.mark.parametrize("slots", [1, 4])
def test_yarn_lifts_the_most_context_that_a_slot_has(
    plan_of: Any, words: tuple[str, ...], limit: int, slots: int
) -> None:
    asked = {"extra_args": words, "n_parallel": slots, "engines": (new_engine(),)}
    assert plan_of("small", **asked, n_ctx=limit * slots).n_ctx == limit * slots
    with pytest.raises(LaunchdeckError, match=f"at most {limit * slots}") as caught:
        plan_of("small", **asked, n_ctx=limit * slots + 1)
    assert dict(caught.value.failure.fixes[0].changes) == {"n_ctx": limit * slots}


def new_engine(build: int | None = 10754) -> EngineInfo:
    return replace(LLAMA_SERVER, build=build)


@pytest.mark.parametrize(
    ("build", "told"), [(10754, None), (11063, None), (10753, "cuts each request to the 4096"), (None, "is not known")]
)
def test_where_a_build_does_not_lift_it_that_is_told(plan_of: Any, build: int | None, told: str | None) -> None:
    asked = {"extra_args": YARN, "engines": (new_engine(build),), "n_parallel": 1}
    warnings = " ".join(map(str, plan_of("small", **asked, n_ctx=16384).warnings))
    assert ("trained with" in warnings) is (told is not None)
    assert (told or "") in warnings
    assert "trained with" not in " ".join(map(str, plan_of("small", **asked, n_ctx=4096).warnings))


@pytest.mark.parametrize(
    ("build", "original", "batch"),
    [(11063, 4096, "16384"), (11063, 512, "2048"), (10605, 4096, "4096"), (10605, 512, "4096"), (None, 4096, "16384")],
)
def test_an_embeddings_batch_is_as_long_as_yarn_lets_a_text_be(
    plan_of: Any, build: int | None, original: int, batch: str
) -> None:
    """As build 11434 has it for SmolLM2, 8192 tokens, scaled by 4: 32768; from 4096: 16384; from 1024: 4096."""
    words = (*YARN, "--yarn-orig-ctx", str(original))
    asked = {"extra_args": words, "engines": (new_engine(build),), "server_type": ServerType.EMBEDDING, "n_parallel": 1}
    n_ctx = 16384 if original == 4096 else 4096
    batch_size = option(plan_of("small", **asked, n_ctx=n_ctx), "--batch-size") or "2048"  # what the engine has itself
    assert batch_size == batch


@pytest.mark.parametrize(
    ("name", "asked", "n_ctx"),
    [("small", None, 4096), ("big model", None, 8192), ("small", 7, 7), ("small", 16384, 16384)],
)
def test_the_context(plan_of: Any, name: str, asked: int | None, n_ctx: int) -> None:
    plan = plan_of(name, n_ctx=asked)
    assert plan.n_ctx == n_ctx
    assert option(plan, "--ctx-size") == str(n_ctx)


def test_an_encoder_obeys_gpu_layers_and_context(plan_of: Any) -> None:
    plan = plan_of("encoder", server_type=ServerType.EMBEDDING, gpu_uuids=("GPU-0",), n_gpu_layers=3, n_ctx=256)
    assert option(plan, "--n-gpu-layers") == "3"
    assert option(plan, "--ctx-size") == "256"
    assert "--embeddings" in plan.argv
    assert option(plan, "--pooling") == "mean"
    assert plan.estimate.devices[0].weights_bytes > 0


@pytest.mark.parametrize(
    ("pooling_type", "words"), [(2, ("--pooling", "cls")), (3, ("--pooling", "last")), (4, ("--rerank",))]
)
def test_an_embedder_pools_as_it_says(plan_of: Any, folder: Path, pooling_type: int, words: tuple[str, ...]) -> None:
    encoder = bert()
    metadata = {**encoder.metadata, f"{encoder.metadata['general.architecture']}.pooling_type": pooling_type}
    replace(encoder, metadata=metadata).write(folder / f"pools {pooling_type}.gguf")
    plan = plan_of(f"pools {pooling_type}", server_type=ServerType.EMBEDDING, gpu_uuids=("GPU-0",), n_gpu_layers=2)
    assert " ".join(words) in " ".join(plan.argv)
    assert ("--embeddings" in plan.argv) == (words != ("--rerank",))
    assert option(plan, "--n-gpu-layers") == "2"


def test_a_decoder_that_embeds_is_told_how_to_pool(plan_of: Any) -> None:
    assert option(plan_of("small", server_type=ServerType.EMBEDDING), "--pooling") == "mean"


def test_name_and_address(plan_of: Any) -> None:
    plan = plan_of()
    assert plan.model_id == option(plan, "--alias") == "big-model"
    assert plan.url == "http://127.0.0.1:8001/v1"
    assert plan_of(model_id="내-모델").model_id == "내-모델"


def test_the_key_is_in_no_plan(plan_of: Any) -> None:
    plan = plan_of()
    assert plan.secret_env == ("LLAMA_API_KEY",)
    assert dict(plan.env)["LLAMA_API_KEY"] == "***"
    without = plan_of(settings=Settings(model_api_keys=False))
    assert without.secret_env == ()
    assert "LLAMA_API_KEY" in without.env_unset
    assert "LLAMA_ARG_*" in without.env_unset


def test_a_recorded_machine_is_planned_for_and_not_started_on(plan_of: Any) -> None:
    plan = plan_of(machine=replace(two_gpus(), replayed=True), engines=(EMBEDDED,), gpu_uuids=("GPU-1",))
    assert plan.argv[0] == "llama-server"
    assert plan.blocker.cause is Cause.ENGINE_UNSUITED
    assert "recorded" in str(plan.blocker)
    assert dict(plan.env)["HIP_VISIBLE_DEVICES"] == "GPU-1"


def test_a_backend_that_is_named_and_missing(plan_of: Any) -> None:
    plan = plan_of(engines=(), backend=BackendChoice.LLAMA, gpu_uuids=("GPU-0",), n_gpu_layers=4)
    assert plan.argv[0] == "llama-server"
    assert plan.blocker.cause is Cause.ENGINE_MISSING
    assert "No engine" in str(plan.blocker)


@pytest.mark.parametrize(
    ("request_fields", "words", "change"),
    [
        ({"gpu_uuids": ("GPU-7",)}, "Choose from 0, 1", ON_CPU),
        ({"gpu_uuids": ("GPU-0", "GPU-0")}, "twice", ON_CPU),
        ({"n_gpu_layers": 34}, "has 33 layers, not 34", {"n_gpu_layers": -1}),
        ({"n_gpu_layers": -2}, "0 (the CPU) to 33", {"n_gpu_layers": -1}),
        ({"n_ctx": 32769, "n_parallel": 1}, "at most 32768", {"n_ctx": 32768}),
        ({"n_ctx": 131073, "n_parallel": 4}, "at most 131072", {"n_ctx": 131072}),
        ({"n_ctx": 0}, "1 to 32768", {"n_ctx": 32768}),
        ({"n_parallel": 0}, "1 to 256 slots", None),
        ({"cache_type_k": "q9_9"}, "q8_0", None),
        ({"rpc_workers": ("127.0.0.1",)}, "host:port", None),
        ({"rpc_workers": ("-x:1",)}, "host:port", None),
        ({"rpc_workers": ("a:1,b:2",)}, "host:port", None),
        ({"rpc_workers": ("a:65536",)}, "host:port", None),
        ({"model_id": "a,b"}, "without spaces, commas", None),
        ({"model_id": "-a"}, "begin with '-'", None),
        ({"model_id": ""}, "cannot be a model's name", None),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence_and_an_offer(
    failure_of: Any, request_fields: dict[str, Any], words: str, change: dict[str, Any] | None
) -> None:
    failure = failure_of(**request_fields)
    special = Cause.BAD_NAME if "model_id" in request_fields else Cause.BAD_REQUEST
    assert failure.cause is (Cause.BAD_GPU if "Choose from" in words else special)
    assert words in str(failure)
    assert [dict(fix.changes) for fix in failure.fixes] == ([] if change is None else [change])


@pytest.mark.parametrize(
    ("gpu", "words", "advice"),
    [
        (PlannedGpu(1, "GPU-gone", "RTX 4090", "0000:01:00.0"), "RTX 4090 at 01:00.0 is not there.", "power"),
        (PlannedGpu(1, "MIG-gone", "H100 1g.10gb"), "H100 1g.10gb is not there.", "power"),
        (PlannedGpu(1, "GPU-gone", ""), "GPU-gone is not there.", "power"),
        (PlannedGpu.unidentified(1), "GPU 1, which may be another one now", "Choose its GPU again."),
        (PlannedGpu.unidentified(5), "GPU 5, which is not there", "Choose its GPU again."),
        (None, "There is no GPU GPU-gone.", "Choose from 0, 1"),
    ],
)
def test_a_gpu_that_is_not_there_is_named_and_never_replaced(
    failure_of: Any, gpu: PlannedGpu | None, words: str, advice: str
) -> None:
    known = () if gpu is None else (gpu,)
    uuid = "GPU-gone" if gpu is None else gpu.uuid
    failure = failure_of(gpu_uuids=("GPU-0", uuid), known_gpus=known)
    assert failure.cause is Cause.BAD_GPU
    assert words in str(failure.message)
    assert advice in str(failure.advice)


def test_a_request_finds_its_gpu_wherever_it_stands_in_the_list(plan_of: Any) -> None:
    """Places are shown, and no more: which GPU has one depends on who answered first."""
    first, second = (gpu(n, "RTX 4090", GpuType.NVIDIA, 24, 1) for n in (0, 1))
    alone = replace(second, gpu=replace(second.gpu, index=0))
    for machine, place in ((inventory(first, second), 1), (inventory(alone), 0)):
        plan = plan_of(machine=machine, gpu_uuids=("GPU-1",), n_gpu_layers=-1)
        assert dict(plan.env)["CUDA_VISIBLE_DEVICES"] == "GPU-1"
        assert plan.estimate.devices[0].device == f"GPU {place}"
        assert plan.request.known_gpus == plan.gpus == (PlannedGpu.of(machine.gpus[place].gpu),)


def test_no_gpu_is_there_to_choose(failure_of: Any) -> None:
    assert "has no GPU" in str(failure_of(machine=NO_GPU, gpu_uuids=("GPU-0",)))


def test_an_encoder_is_no_language_model(failure_of: Any) -> None:
    failure = failure_of("encoder", server_type=ServerType.LLM)
    assert dict(failure.fixes[0].changes) == {"server_type": ServerType.EMBEDDING}


def test_a_model_with_a_problem(folder: Path) -> None:
    model = replace(describe(read_header(folder / "small.gguf")), problem=Message("It is broken."))
    context = PlanningContext(two_gpus(), (ABLE,), Settings(), model, None)
    with pytest.raises(LaunchdeckError, match="It is broken"):
        plan_launch(ModelLoadRequest(model.path), context, 8001)


def test_the_document_is_the_contract(plan_of: Any) -> None:
    plan = plan_of(gpu_uuids=("GPU-0",), n_gpu_layers=20)
    document = plan_document(plan)
    assert set(document) == {"backend", "reasons", "argv", "env", "estimate", "layers", "warnings"}
    assert document["backend"] == "llama"
    assert document["argv"] == list(plan.argv)
    assert document["layers"] == {
        "asked": 20,
        "resolved": 20,
        "total": LAYERS,
        "largest_that_fits": plan.layers.largest_that_fits,
    }
    (device,) = document["estimate"]["devices"]
    keys = {"device", "weights_bytes", "kv_bytes", "compute_bytes", "overhead_bytes", "total_bytes", "free_bytes"}
    assert set(device) == set(document["estimate"]["host"]) == keys | {"fits", "promised_bytes", "promised_to"}
    assert device["total_bytes"] == sum(device[f"{part}_bytes"] for part in ("weights", "kv", "compute", "overhead"))


def test_the_command_line_can_be_pasted(plan_of: Any) -> None:
    plan = plan_of(gpu_uuids=("GPU-0",), n_gpu_layers=20)
    words = shlex.split(command_line(plan))
    assert words[: len(words) - len(plan.argv)] == [
        "CUDA_VISIBLE_DEVICES=GPU-0",
        "CUDA_DEVICE_ORDER=PCI_BUS_ID",
        "LLAMA_API_KEY=***",
    ]
    assert tuple(words[-len(plan.argv) :]) == plan.argv


@pytest.mark.parametrize(
    ("asked", "batches"),
    [
        ({"n_ctx": 512}, ("512", "512")),
        ({"n_ctx": 1000}, ("1024", "1024")),
        ({"n_ctx": 8192}, ("8192", "8192")),
        ({"n_ctx": 8192, "n_ubatch": 256}, ("256", "256")),
        ({"n_ctx": 8192, "n_batch": 4096}, ("4096", "4096")),
    ],
)
def test_an_embedding_input_is_computed_in_one_batch(
    plan_of: Any, asked: dict[str, int], batches: tuple[str, str]
) -> None:
    plan = plan_of(server_type=ServerType.EMBEDDING, **asked)
    assert (option(plan, "--batch-size") or "2048", option(plan, "--ubatch-size") or "512") == batches


def test_no_more_is_computed_at_once_than_a_batch_has(plan_of: Any) -> None:
    small, usual = plan_of(n_batch=128), plan_of()
    assert (option(small, "--batch-size"), option(small, "--ubatch-size")) == ("128", "128")
    assert small.estimate.devices[0].compute_bytes < usual.estimate.devices[0].compute_bytes


TWO_NVIDIA = inventory(gpu(0, "RTX 4090", GpuType.NVIDIA, 24, 12), gpu(1, "RTX 4090", GpuType.NVIDIA, 24, 18))


@pytest.mark.parametrize(
    ("split", "words"), [(None, "12,6"), (EVEN_SPLIT, "1,1"), ((3.0, 1.0), "3,1"), ((0.25, 0.75), "0.25,0.75")]
)
def test_the_split_asked_for_is_the_one_applied_and_estimated(
    plan_of: Any, split: tuple[float, ...] | None, words: str
) -> None:
    plan = plan_of(machine=TWO_NVIDIA, gpu_uuids=("GPU-0", "GPU-1"), n_gpu_layers=-1, split=split)
    assert option(plan, "--tensor-split") == words
    first, second = (float(word) for word in words.split(","))
    cache = [device.kv_bytes for device in plan.estimate.devices]
    assert cache[0] / sum(cache) == pytest.approx(first / (first + second), abs=1.5 / LAYERS)


@pytest.mark.parametrize("split", [(1.0,), (1.0, 2.0, 3.0), (0.0, 0.0), (-1.0, 2.0), (float("nan"), 1.0)])
def test_shares_that_cannot_be_given_are_refused_with_the_usual_split_as_the_fix(failure_of: Any, split: Any) -> None:
    failure = failure_of(machine=TWO_NVIDIA, gpu_uuids=("GPU-0", "GPU-1"), split=split)
    assert failure.fixes[0].changes == (("split", None),)


def test_flash_attention_off_takes_more_memory_and_goes_into_the_command(plan_of: Any) -> None:
    off, on = plan_of(flash_attention=FlashAttention.OFF), plan_of(flash_attention=FlashAttention.ON)
    assert (option(off, "--flash-attn"), option(on, "--flash-attn")) == ("off", "on")
    assert off.estimate.devices[0].compute_bytes > on.estimate.devices[0].compute_bytes


def test_a_quantised_v_cache_without_flash_attention_is_refused_before_the_engine_would(failure_of: Any) -> None:
    failure = failure_of(flash_attention=FlashAttention.OFF, cache_type_v="q8_0")
    assert {name for fix in failure.fixes for name, _ in fix.changes} == {"flash_attention", "cache_type_v"}


def test_a_quantised_v_cache_of_a_model_that_never_has_flash_attention_is_refused(
    failure_of: Any, plan_of: Any
) -> None:
    failure = failure_of("grok", cache_type_v="q8_0")
    assert "flash attention" in str(failure)
    assert [dict(fix.changes) for fix in failure.fixes] == [{"cache_type_v": "f16"}]
    plan_of("grok", cache_type_k="q8_0", **dict(failure.fixes[0].changes))


@pytest.mark.parametrize(
    ("flash_attention", "offered"), [(FlashAttention.AUTO, ["q8_0", "f16"]), (FlashAttention.OFF, ["f16"])]
)
def test_different_types_of_a_cache_that_keys_and_values_share_are_refused(
    failure_of: Any, plan_of: Any, flash_attention: FlashAttention, offered: list[str]
) -> None:
    failure = failure_of("latent", cache_type_k="q8_0", flash_attention=flash_attention)
    assert "one cache for K and V" in str(failure)
    assert [dict(fix.changes) for fix in failure.fixes] == [
        {"cache_type_k": name, "cache_type_v": name} for name in offered
    ]
    for fix in failure.fixes:
        plan_of("latent", flash_attention=flash_attention, **dict(fix.changes))


K_Q8, V_Q8 = {"cache_type_k": "q8_0"}, {"cache_type_v": "q8_0"}
K_F16, V_F16 = {"cache_type_k": "f16"}, {"cache_type_v": "f16"}
OFF = {"flash_attention": FlashAttention.OFF}


@pytest.mark.parametrize(
    ("name", "stored", "refused"),
    [
        ("heads of 80", K_Q8, K_F16),
        ("heads of 80", {"cache_type_v": "q4_0"}, V_F16),
        ("heads of 80", {"cache_type_k": "iq4_nl", "cache_type_v": "q5_1"}, K_F16 | V_F16),
        ("heads of 80", {"cache_type_k": "bf16", "cache_type_v": "f32"}, None),
        ("heads of 80", K_Q8 | OFF, None),
        ("one head of 80", K_Q8 | OFF, K_F16),
        ("windows", K_Q8, K_F16),
        ("windows", V_Q8, V_F16),
        ("windows", {}, None),
        ("small", K_Q8 | {"cache_type_v": "q4_0"}, None),
    ],
)
def test_a_cache_whose_rows_are_no_whole_number_of_blocks_is_refused_as_the_engine_does(
    folder: Path, truth: Truth, plan_of: Any, failure_of: Any, name: str, stored: Any, refused: Any
) -> None:
    asked = {**K_F16, **V_F16, "flash_attention": FlashAttention.AUTO} | stored
    model = folder / f"{name}.gguf"
    options = ["--cache-type-k", asked["cache_type_k"], "--cache-type-v", asked["cache_type_v"], "--fit-print", "on"]
    options += ["--flash-attn", str(asked["flash_attention"]), "--ctx-size", "512"]

    def is_refused(engines: Path) -> bool:
        return run([str(engines / "llama-fit-params"), "--model", str(model), *options]).returncode != 0

    assert truth.says(model, ("is refused", *options), is_refused) == (refused is not None)
    if refused is None:
        plan_of(name, **stored)
        return
    failure = failure_of(name, **stored)
    assert "blocks of 32" in str(failure)
    assert [dict(fix.changes) for fix in failure.fixes] == [refused]
    plan_of(name, **stored | refused)


def test_numbers_for_an_architecture_that_nobody_knows_claim_no_more_than_they_are(plan_of: Any) -> None:
    known, unknown = plan_of("small"), plan_of("unknown")
    assert "does not know the architecture tomorrow" in warnings_of(unknown)
    assert "architecture" not in warnings_of(known)
    tiers = [(plan.estimate.devices[0].kv_tier, plan.estimate.devices[0].compute_tier) for plan in (known, unknown)]
    assert tiers == [(Tier.FORMULA, Tier.FORMULA), (Tier.GUESS, Tier.GUESS)]


@pytest.mark.parametrize(
    "changes", [{"n_threads": 0}, {"n_batch": 0}, {"n_ubatch": -1}, {"n_threads": 5000}, {"n_cpu_moe": 1}]
)
def test_numbers_out_of_their_range_are_refused(failure_of: Any, changes: dict[str, int]) -> None:
    assert failure_of(**changes).cause is Cause.BAD_REQUEST


def test_experts_in_ram_leave_room_on_the_gpu(folder: Path, plan_of: Any, failure_of: Any) -> None:
    mixtral().write(folder / "mixture.gguf")
    plain, kept = plan_of("mixture", n_gpu_layers=-1), plan_of("mixture", n_gpu_layers=-1, n_cpu_moe=3)
    assert option(kept, "--n-cpu-moe") == "3"
    assert option(kept, "--n-gpu-layers") == option(plain, "--n-gpu-layers")
    moved = plain.estimate.devices[0].weights_bytes - kept.estimate.devices[0].weights_bytes
    assert moved == kept.estimate.host.weights_bytes - plain.estimate.host.weights_bytes > 0
    assert failure_of("mixture", n_cpu_moe=9).fixes[0].changes == (("n_cpu_moe", 0),)


def test_an_input_to_embed_is_no_longer_than_the_model_was_made_for(plan_of: Any) -> None:
    """Also where its slots share more."""
    plan = plan_of("small", server_type=ServerType.EMBEDDING, n_ctx=16384, n_parallel=4)
    assert (option(plan, "--ctx-size"), option(plan, "--ubatch-size")) == ("16384", "4096")
