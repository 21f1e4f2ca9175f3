"""What a model will take on each device, before it is launched.

Weights and cache are llama.cpp's own sums to the byte; see `weights`, `kv` and `compute` for the sources. The sums over
the layers are made once for a model; after that an estimate is a handful of additions for each device.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from launchdeck.domain.plan import DeviceEstimate, Estimate, Tier
from launchdeck.domain.units import MIB
from launchdeck.planning.llama.attention import attending_layers, factor_layers, window
from launchdeck.planning.llama.compute import ComputeBuffers
from launchdeck.planning.llama.fused_attention import FusedAttention
from launchdeck.planning.llama.heads import Heads
from launchdeck.planning.llama.hyperparameters import Hyperparameters
from launchdeck.planning.llama.kv import KvCache, Layout
from launchdeck.planning.llama.replay.graph import Graph, Role
from launchdeck.planning.llama.split import layer_ranges
from launchdeck.planning.llama.weights import Weights
from launchdeck.planning.llama.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launchdeck.models.gguf.header import GgufHeader

    # A device's place, its first layer and the one after its last, `n_cpu_moe`, whether it works in a pipeline, and
    # whether it is a worker.
    Part = tuple[int, int, int, int, bool, bool]

# What a CUDA or ROCm process holds on a card besides its buffers. Measured: 264 to 500 MiB, by driver and build; what a
# real start on that card showed is a better number.
GPU_CONTEXT_BYTES = 300 * MIB
_CONTEXT_BYTES_BY_CAPABILITY = {(9, 0): 590 * MIB}  # an H200 with CUDA 13 and driver 580
HOST = "CPU"
_HALF_BYTES = 2


def usual_context_bytes(compute_capability: tuple[int, int] | None) -> int:
    """Guess what a process takes on a card on which nothing was started yet, in bytes."""
    if compute_capability is None:
        return GPU_CONTEXT_BYTES
    return _CONTEXT_BYTES_BY_CAPABILITY.get(compute_capability, GPU_CONTEXT_BYTES)


@dataclass(frozen=True, slots=True)
class Device:
    """A chosen GPU or RPC worker. `free_bytes` is None where nobody can tell.

    A worker does nothing for layers in RAM, and takes part in no pipeline. Source: ggml's RPC device, which has no
    `offload_op`, and neither of the capabilities `async` and `events`.
    """

    name: str
    free_bytes: int | None
    context_bytes: int = GPU_CONTEXT_BYTES
    context_tier: Tier = Tier.FORMULA
    is_worker: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be placed, in llama.cpp's words.

    `n_ctx` counts all slots together. `split` is each device's share, as given to `--tensor-split`.
    `flash_attention` is what really happens: `auto` may have `given_up` on it, when the cache is made for it already.
    `n_cpu_moe`: the experts of that many first blocks stay in RAM.
    `host_free_bytes` is the free RAM, None where it does not matter.
    """

    n_gpu_layers: int
    n_ctx: int
    n_parallel: int
    cache_type_k: str
    cache_type_v: str
    embedding: bool
    devices: tuple[Device, ...]
    split: tuple[float, ...]
    n_batch: int = 2048
    n_ubatch: int = 512
    kv_unified: bool = True
    flash_attention: bool = True
    given_up: bool = False
    n_cpu_moe: int = 0
    host_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _AddedUp:
    """One kind of work, and what was added up for it: by the part that a GPU or the host has."""

    work: Work
    graph: Graph
    gpus: dict[Part, DeviceEstimate] = field(default_factory=dict)
    hosts: dict[tuple[int, int, bool, bool, bool], DeviceEstimate] = field(default_factory=dict)


class MemoryModel:
    """One model's memory as a function of a Load."""

    def __init__(self, hp: Hyperparameters) -> None:
        self.layer_count = hp.n_layer_all + 1
        self.has_experts = hp.integer("expert_count") > 0
        self.is_known = hp.is_known
        self.never_flash_attention = not hp.traits.flash_attention
        # Multi-head latent attention: the values are made of what the keys are made of.
        self.shares_keys_and_values = hp.integer("attention.key_length_mla") > 0
        self.heads = Heads.of(hp)
        self.fused_attention = FusedAttention(hp)
        self._most_heads = max(hp.n_head, default=0)
        self._tier = Tier.FORMULA if self.is_known else Tier.GUESS
        self._block_count = hp.n_layer
        self._cache = KvCache(hp)
        self._weights = Weights.of(hp, factor_layers(hp))
        in_window, attending = window(hp).layers, attending_layers(hp)
        self._full_until = _counts(a and not w for a, w in zip(attending, in_window, strict=True))
        self._window_until = _counts(a and w for a, w in zip(attending, in_window, strict=True))
        self._compute = ComputeBuffers(hp, self._cache, self._whole())
        self._latest: tuple[tuple[object, ...], _AddedUp] | None = None

    @classmethod
    def of(cls, header: GgufHeader) -> MemoryModel:
        """Make the sums; a header without `block_count` has no layers but the output."""
        return cls(Hyperparameters(header))

    def estimate(self, load: Load) -> Estimate:
        """Add up the bytes per device, in the order of `load.devices`, and on the host."""
        layers = min(load.n_gpu_layers, self.layer_count) if load.devices else 0
        added = self._added_up(load)
        if layers <= 0:
            unused = tuple(DeviceEstimate(device.name, 0, 0, 0, 0, device.free_bytes) for device in load.devices)
            return Estimate(unused, self._host(load, added, self.layer_count, alone=True))
        ranges = layer_ranges(layers, self.layer_count, load.split)
        pipeline = _has_pipeline(load, ranges)
        devices = tuple(
            [
                self._gpu(added, device, (index, *ranges[index], load.n_cpu_moe, pipeline, device.is_worker))
                for index, device in enumerate(load.devices)
            ]
        )
        works = load.devices[0].is_worker and (ranges[0][0] > 0 or load.n_cpu_moe > 0)
        return Estimate(devices, self._host(load, added, ranges[0][0], works=works, pipeline=pipeline))

    def converted_scores_bytes(self, load: Load) -> int:
        """Add up what CUDA or ROCm takes besides the buffers while it attends without flash attention and the cache is
        full: the scores of a batch in 16 bits, to be multiplied with values of as many.

        Source: `ggml_cuda_mul_mat_batched_cublas` of llama.cpp b10605, which never gives it back; measured on an H200.
        """
        work = self._work(load)  # alone: what was added up is kept for the load that is shown
        seen = max(work.cells.full, work.cells.window) // work.cells.streams
        return _HALF_BYTES * work.tokens * seen * self._most_heads

    def overfull_device(self, load: Load, layers: int, rooms: Sequence[int], suspect: int) -> int | None:
        """Find a device that needs more than its room with this many layers (at least 1): its place, None if none does.

        The suspect is looked at first, and the search ends with the first one found: many numbers of layers are tried
        to find the largest that fits, and it is usually the same device that is too small.
        """
        added = self._added_up(load)
        ranges = layer_ranges(layers, self.layer_count, load.split)
        pipeline = _has_pipeline(load, ranges)
        for index in chain((suspect,), range(len(rooms))):
            device = load.devices[index]
            part = (index, *ranges[index], load.n_cpu_moe, pipeline, device.is_worker)
            if self._gpu(added, device, part).total_bytes > rooms[index]:
                return index
        return None

    def _gpu(self, added: _AddedUp, device: Device, part: Part) -> DeviceEstimate:
        """The same object as the last time where nothing has changed: to make another takes as long as all the rest."""
        known = added.gpus.get(part)
        if (
            known is None
            or known.free_bytes != device.free_bytes
            or known.overhead_bytes != device.context_bytes
            or known.device != device.name
            or known.overhead_tier is not device.context_tier
        ):
            known = added.gpus[part] = DeviceEstimate(
                device.name,
                *((known.weights_bytes, known.kv_bytes, known.compute_bytes) if known else self._bytes(added, part)),
                overhead_bytes=device.context_bytes,
                free_bytes=device.free_bytes,
                compute_tier=self._tier,
                overhead_tier=device.context_tier,
                kv_tier=self._tier,
            )
        return known

    def _bytes(self, added: _AddedUp, part: Part) -> tuple[int, int, int]:
        """Weights, cache and compute buffer of a GPU."""
        (_, first, end, n_cpu_moe, *_), work, cache = part, added.work, self._cache
        return (
            self._weights.gpu_bytes(first, end, n_cpu_moe),
            cache.gpu_bytes(first, end, work.cells, work.layout),
            added.graph.gpu_bytes(self._role(work, part)),
        )

    def _role(self, work: Work, part: Part) -> Role:
        index, first, end, n_cpu_moe, pipeline, is_worker = part
        # The first GPU works with the host's layers as well. Workers come after all GPUs.
        is_first = not index and not (is_worker and first)
        begin = 0 if is_first else first
        n_cpu_moe = 0 if is_worker else n_cpu_moe
        return Role(
            blocks=max(min(end, self._block_count) - first, 0),
            ends=end >= self._block_count,
            first=is_first,
            last=first < end == self.layer_count,
            full=self._full_until[end] > self._full_until[begin],
            window=self._window_until[end] > self._window_until[begin],
            pipeline=pipeline,
            offloaded_blocks=first,
            offloaded_bytes=self._weights.offloaded_until[first],
            offloaded_experts_bytes=self._weights.experts.offloaded_until[n_cpu_moe],
            n_cpu_moe=n_cpu_moe,
            reused_bytes=self._cache.reused_bytes(first, end, work.cells, work.layout),
        )

    def _whole(self) -> Role:
        """The part of a device that has all layers."""
        return Role(
            blocks=self._block_count,
            ends=True,
            first=True,
            last=True,
            full=self._full_until[-1] > 0,
            window=self._window_until[-1] > 0,
            pipeline=False,
            offloaded_blocks=0,
            offloaded_bytes=0,
        )

    def _host(
        self, load: Load, added: _AddedUp, end: int, *, alone: bool = False, works: bool = False, pipeline: bool = False
    ) -> DeviceEstimate:
        """`works`: beside devices, but with layers of its own."""
        key = (end, load.n_cpu_moe, alone, works, pipeline)
        known = added.hosts.get(key)
        if known is None:
            graph = added.graph
            working_bytes = graph.host_alone_bytes() if alone else graph.host_working_bytes
            known = added.hosts[key] = DeviceEstimate(
                HOST,
                weights_bytes=self._weights.host_bytes(end, load.n_cpu_moe),
                kv_bytes=self._cache.host_bytes(end, added.work.cells, added.work.layout),
                compute_bytes=working_bytes if alone or works else graph.host_bytes(pipeline=pipeline),
                overhead_bytes=0,
                free_bytes=load.host_free_bytes,
            )
        elif known.free_bytes != load.host_free_bytes:
            known = added.hosts[key] = replace(known, free_bytes=load.host_free_bytes)
        return known

    def _added_up(self, load: Load) -> _AddedUp:
        """While the layer slider moves, the work stays the same, and so does what was added up for it."""
        key = (
            load.n_ctx,
            load.n_parallel,
            load.cache_type_k,
            load.cache_type_v,
            load.embedding,
            load.n_batch,
            load.n_ubatch,
            load.kv_unified,
            load.flash_attention,
            load.given_up,
        )
        latest = self._latest
        if latest is None or latest[0] != key:
            work = self._work(load)
            latest = self._latest = (key, _AddedUp(work, self._compute.graph(work)))
        return latest[1]

    def _work(self, load: Load) -> Work:
        """Source: `llama_context` and `sched_reserve` of llama.cpp."""
        n_ubatch = min(load.n_ctx, load.n_batch, load.n_ubatch)
        tokens = -(-n_ubatch // load.n_parallel) * load.n_parallel
        can = not self.never_flash_attention
        return Work(
            tokens=tokens,
            outputs=tokens if load.embedding or self._compute.gives_all_results else min(tokens, load.n_parallel),
            cells=self._cache.cells(load.n_ctx, load.n_parallel, n_ubatch, unified=load.kv_unified),
            layout=Layout.of(
                load.cache_type_k,
                load.cache_type_v,
                transposed=not (can and (load.flash_attention or load.given_up)),
            ),
            flash_attention=can and load.flash_attention,
        )


def _counts(layers: Iterable[bool]) -> tuple[int, ...]:
    """How many of the layers 0 to i-1; the output layer, the last, is none of them."""
    counts = tuple(accumulate(layers, initial=0))
    return (*counts, counts[-1])


def _has_pipeline(load: Load, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether several GPUs work on several batches at once: where they hold the whole model, and nothing of it is in
    RAM. Source: `llama_context` of llama.cpp.
    """
    several = len(load.devices) > 1 and not load.devices[-1].is_worker  # these come last
    return several and ranges[0][0] == 0 and not load.n_cpu_moe
