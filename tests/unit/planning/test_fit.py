"""What fits: against trying everything."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import gguf_models, gguf_zoo
from launchdeck.models.gguf.gguf import read_header
from launchdeck.planning.llama.estimate import Device, Load, MemoryModel
from launchdeck.planning.llama.fit import fewest_experts_in_ram, largest_layer_count
from launchdeck.planning.llama.split import layer_ranges

GIB = 1024**3
MARGIN = GIB // 4


@pytest.fixture(scope="module")
def memories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MemoryModel]:
    folder = tmp_path_factory.mktemp("models")
    size = {"n_layer": 32, "n_embd": 4096, "n_head": 32, "n_head_kv": 8, "n_ff": 14336, "n_vocab": 32000}
    models = {"dense": gguf_models.llama(**size), "mixture": gguf_zoo.qwen3moe()}
    return {name: MemoryModel.of(read_header(gguf.write(folder / f"{name}.gguf"))) for name, gguf in models.items()}


def load(frees_gib: list[float], split: list[float], n_ctx: int = 8192) -> Load:
    devices = tuple(Device(f"GPU {place}", int(free * GIB)) for place, free in enumerate(frees_gib))
    return Load(0, n_ctx, 4, "f16", "f16", False, devices, tuple(split))


def fits(memory: MemoryModel, asked: Load) -> bool:
    devices = memory.estimate(asked).devices
    return all(device.total_bytes + MARGIN <= (device.free_bytes or 0) for device in devices)


machines = st.integers(1, 8).flatmap(
    lambda count: st.tuples(
        st.lists(st.floats(0, 12), min_size=count, max_size=count),
        st.lists(st.floats(0.125, 24, width=16), min_size=count, max_size=count),
    )
)


@settings(max_examples=60, deadline=None)
@given(machine=machines, name=st.sampled_from(["dense", "mixture"]), n_ctx=st.sampled_from([512, 8192, 65536]))
def test_the_most_layers_are_those_that_trying_every_number_finds(memories, machine, name, n_ctx) -> None:
    memory, asked = memories[name], load(*machine, n_ctx)
    every = [n for n in range(1, memory.layer_count + 1) if fits(memory, replace(asked, n_gpu_layers=n))]
    assert largest_layer_count(memory, asked, MARGIN) == max(every, default=0)


@settings(max_examples=40, deadline=None)
@given(machine=machines)
def test_the_fewest_experts_in_ram_are_those_that_trying_every_number_finds(memories, machine) -> None:
    memory = memories["mixture"]
    full = replace(load(*machine), n_gpu_layers=memory.layer_count)
    every = [n for n in range(memory.layer_count) if fits(memory, replace(full, n_cpu_moe=n))]
    assert fewest_experts_in_ram(memory, full, MARGIN) == min(every, default=None)


def test_without_devices_nothing_and_without_knowledge_no_answer(memories) -> None:
    memory, unknown = memories["mixture"], replace(load([], []), devices=(Device("x", None),), split=(1.0,))
    assert largest_layer_count(memory, load([], []), MARGIN) == 0
    assert largest_layer_count(memory, unknown, MARGIN) is None
    assert fewest_experts_in_ram(memory, load([], []), MARGIN) is None
    assert fewest_experts_in_ram(memory, unknown, MARGIN) is None


def single(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


@settings(max_examples=300, deadline=None)
@given(
    n=st.integers(1, 200),
    split=st.lists(st.sampled_from([1.0, 2.0, 3.0, 0.1, 0.7, 11.4, 12.6, 1 / 3, 20.0]), min_size=2, max_size=8),
)
def test_layers_are_given_out_in_single_precision_layer_by_layer(n: int, split: list[float]) -> None:
    """`upper_bound` over the sums of the shares, as llama.cpp does it for each layer."""
    sums: list[float] = []
    for share in split:
        sums.append(single((sums[-1] if sums else 0.0) + single(share)))
    limits = [single(total / sums[-1]) for total in sums]
    devices = [next(place for place, limit in enumerate(limits) if limit > single(layer / n)) for layer in range(n)]
    assert [end - first for first, end in layer_ranges(n, n, split)] == [
        devices.count(place) for place in range(len(split))
    ]
