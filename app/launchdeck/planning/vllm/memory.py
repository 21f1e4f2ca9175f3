"""What vLLM takes on each GPU, from a model's headers alone.

Weights and the cache of keys and values are sums of what the headers say. Activations, graphs and what lies outside
torch are vLLM's own measurements at its start (0.6 to 2.5 GiB, 0.1 to 0.5 GiB, 0.3 to 0.4 GiB); they are estimated
towards the upper end, because a budget that is too small does not start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from launchdeck.domain.plan import DeviceEstimate, Estimate
from launchdeck.domain.units import MIB
from launchdeck.planning.llama.estimate import GPU_CONTEXT_BYTES, HOST
from launchdeck.planning.vllm.weights import LoadedBytes, WeightSums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.models.safetensors.safetensors import SafetensorsHeader

NON_TORCH_BYTES = 400 * MIB
GRAPH_BYTES = 256 * MIB
_BASE_ACTIVATION_BYTES = 512 * MIB
_LOGIT_BYTES = 12  # single precision three times: logits, their sorted copy, probabilities
# The cache is handed out in blocks of tokens.
_BLOCK_TOKENS = 16
# `--gpu-memory-utilization` in steps of a thousandth; a start needs that share of the memory free.
_STEPS = 1000
# Beginnings of the class names of encoders, which read a text at once and keep nothing of it.
_ENCODERS = (
    "Bert", "DistilBert", "Deberta", "Roberta", "XLMRoberta", "Camembert", "MPNet", "Electra", "ModernBert",
    "NomicBert", "NeoBert", "EuroBert", "GteModel", "GteNew", "NewModel", "NewForSequence", "JinaBert", "T5Encoder",
    "Albert", "ColBERT", "HF_ColBERT", "LlamaBidirectional",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VllmDevice:
    """A chosen GPU. None: nobody can tell."""

    name: str
    free_bytes: int | None
    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class VllmLoad:
    """What is to be placed. `devices` are `tensor_parallel` x `pipeline_parallel` GPUs, or none for the CPU.

    `n_ctx` is the longest sequence, `n_parallel` how many of them shall be kept at once; `n_batch` is how many tokens
    are computed at once. `dtype_bytes` is the size of a number of weights and cache.
    """

    n_gpu_layers: int
    n_ctx: int
    n_parallel: int
    n_batch: int
    dtype_bytes: int
    devices: tuple[VllmDevice, ...]
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    host_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class VllmBudget:
    """`estimate` with the cache that really fits; `utilization` is vLLM's share of each GPU's memory.

    `sequences` is how many sequences of the whole context the cache holds, `offload_bytes` what each GPU leaves in RAM.
    `utilization` is None on the CPU and where a GPU's memory is not known.
    """

    estimate: Estimate
    utilization: float | None
    sequences: float
    offload_bytes: int
    kv_bytes: int


class VllmMemory:
    """One model's memory under vLLM. Layers are counted as everywhere: all blocks, and the output layer."""

    def __init__(self, header: SafetensorsHeader) -> None:
        self._header = header
        self._config = header.config
        self.block_count = header.config.n_layer or 0
        self.layer_count = self.block_count + 1
        self.n_head = header.config.n_head or 1
        self._n_head_kv = header.config.n_head_kv or 1
        self.dtype = header.config.dtype
        self._sums: dict[int, WeightSums] = {}

    def tensor_parallel(self, gpu_count: int) -> int:
        """Find the largest part of this many GPUs among which the heads can be divided; the rest is a pipeline."""
        return max(
            size
            for size in range(1, gpu_count + 1)
            if gpu_count % size == 0
            and self.n_head % size == 0
            and (self._n_head_kv % size == 0 or size % self._n_head_kv == 0)
        )

    def budget(self, load: VllmLoad, margin_bytes: int = 0) -> VllmBudget:
        """Add up what it takes, with as much of the wanted cache as fits, but at least one sequence of the context."""
        wanted, least = (self.kv_bytes(load, sequences) for sequences in (load.n_parallel, 1))
        bare = self._estimate(load, 0)
        spare = [
            device.free_bytes - margin_bytes - device.total_bytes
            for device in bare.devices
            if device.free_bytes is not None
        ]
        kv = max(min([wanted, *spare]), least) if load.devices else wanted
        estimate = self._estimate(load, kv)
        return VllmBudget(
            estimate=estimate,
            utilization=_utilization(load, estimate),
            sequences=kv / least if least else float(load.n_parallel),
            offload_bytes=self._offload_bytes(load),
            kv_bytes=kv,
        )

    def largest_layer_count(self, load: VllmLoad, margin_bytes: int) -> int | None:
        """Find how many layers fit with one sequence's cache, 0 if none; None where free memory is not known."""
        if any(device.free_bytes is None for device in load.devices):
            return None
        for layers in range(self.layer_count, 0, -1):
            estimate = self._estimate(replace(load, n_gpu_layers=layers), self.kv_bytes(load, 1))
            if all(
                device.free_bytes is not None and device.total_bytes + margin_bytes <= device.free_bytes
                for device in estimate.devices
            ):
                return layers
        return 0

    def gguf_layer_count(self, load: VllmLoad, bits: float) -> int | None:
        """Guess how many layers llama-server could place of this model in a GGUF with so many bits for a weight.

        None where the free memory is not known.
        """
        known = [device.free_bytes for device in load.devices if device.free_bytes is not None]
        if len(known) < len(load.devices):
            return None
        each = sum(known) - len(known) * (GPU_CONTEXT_BYTES + _BASE_ACTIVATION_BYTES)
        sums = self._sums_for(load)
        stored = sums.between(0, self.block_count) + sums.last
        layer = stored.on_each(1, self._n_head_kv) * bits / (8 * load.dtype_bytes) / self.layer_count
        cache = self.kv_bytes(replace(load, tensor_parallel=1, pipeline_parallel=1), 1) / self.layer_count
        return max(min(int(each / (layer + cache)), self.layer_count), 0) if layer + cache else self.layer_count

    def kv_bytes(self, load: VllmLoad, sequences: int) -> int:
        """Add up the cache of so many sequences on the fullest GPU; encoders keep none."""
        config = self._config
        if not self.keeps_cache:
            return 0
        if config.kv_lora_rank:
            row = (config.kv_lora_rank + config.rope_head_dim) * load.dtype_bytes
        else:
            heads = math.ceil(self._n_head_kv / load.tensor_parallel)
            row = 2 * heads * (config.head_dim or 0) * load.dtype_bytes
        whole = _in_blocks(load.n_ctx)
        window = min(whole, _in_blocks((config.sliding_window or load.n_ctx) - 1 + load.n_batch))
        tokens = [
            0 if layer in config.state_layers else window if layer in config.window_layers else whole
            for layer in range(self.block_count)
        ]
        stages = _stages(self.block_count, load.pipeline_parallel)
        return sequences * row * max(sum(tokens[first:end]) for first, end in stages)

    @property
    def keeps_cache(self) -> bool:
        """Whether one token follows another: a decoder, be it for text or for embeddings."""
        return not (self._config.architecture or "").startswith(_ENCODERS)

    def _estimate(self, load: VllmLoad, kv_bytes: int) -> Estimate:
        sums = self._sums_for(load)
        compute = self._activation_bytes(load)
        if not load.devices:
            weights = sums.between(0, self.block_count) + sums.first + sums.last
            return Estimate((), self._host(load, weights.on_each(1, self._n_head_kv), kv_bytes, compute))
        offload = self._offload_bytes(load)
        devices = []
        for place, device in enumerate(load.devices):
            stage = place // load.tensor_parallel
            weights = self._stage_weights(sums, stage, load.pipeline_parallel)
            devices.append(
                DeviceEstimate(
                    device=device.name,
                    weights_bytes=weights.on_each(load.tensor_parallel, self._n_head_kv) - offload,
                    kv_bytes=kv_bytes,
                    compute_bytes=compute + GRAPH_BYTES,
                    overhead_bytes=GPU_CONTEXT_BYTES + NON_TORCH_BYTES,
                    free_bytes=device.free_bytes,
                )
            )
        return Estimate(tuple(devices), self._host(load, offload * len(devices), 0, 0))

    def _sums_for(self, load: VllmLoad) -> WeightSums:
        """Made once for a type: while the layer slider moves, it stays the same."""
        if load.dtype_bytes not in self._sums:
            self._sums[load.dtype_bytes] = WeightSums.of(self._header, load.dtype_bytes)
        return self._sums[load.dtype_bytes]

    def _stage_weights(self, sums: WeightSums, stage: int, count: int) -> LoadedBytes:
        """A stage of the pipeline: its blocks; the first has the embedding as well, the last the output layer."""
        weights = sums.between(*_stages(self.block_count, count)[stage])
        if stage == 0:
            weights += sums.first
        if stage == count - 1:
            weights += sums.last if count == 1 or not sums.is_tied else sums.last + sums.first
        return weights

    def _offload_bytes(self, load: VllmLoad) -> int:
        """The blocks that are left in RAM, divided among the GPUs; what does not belong to a block is never left."""
        left = max(min(self.layer_count - load.n_gpu_layers, self.block_count), 0)
        if not left or not load.devices:
            return 0
        sums = self._sums_for(load)
        blocks = sums.between(0, left)
        per_stage = blocks.on_each(load.tensor_parallel, self._n_head_kv)
        stages = _stages(self.block_count, load.pipeline_parallel)
        smallest = min(sums.between(*stage).on_each(load.tensor_parallel, self._n_head_kv) for stage in stages)
        return min(-(-per_stage // load.pipeline_parallel), smallest)

    def _activation_bytes(self, load: VllmLoad) -> int:
        """The peak of one run over a full batch: the wide layers of one block, and the logits of every sequence."""
        config = self._config
        n_embd, n_ff = config.n_embd or 0, config.n_ff or 0
        token = (4 * n_ff // load.tensor_parallel + 8 * n_embd) * load.dtype_bytes
        logits = load.n_parallel * (config.n_vocab or 0) * _LOGIT_BYTES if self.keeps_cache else 0
        return _BASE_ACTIVATION_BYTES + load.n_batch * token + logits

    @staticmethod
    def _host(load: VllmLoad, weights: int, kv: int, compute: int) -> DeviceEstimate:
        return DeviceEstimate(HOST, weights, kv, compute, 0, load.host_free_bytes)


def _stages(block_count: int, count: int) -> Sequence[tuple[int, int]]:
    """First block and the one after the last of every stage.

    What does not divide goes to the stages before the last, from the back: `get_pp_indices` of vLLM.
    """
    sizes = [block_count // count] * count
    for place in range(2, block_count % count + 2):
        sizes[-place] += 1
    ends = list(accumulate(sizes))
    return list(zip((0, *ends), ends, strict=False))


def _utilization(load: VllmLoad, estimate: Estimate) -> float | None:
    """The share of the memory that the fullest GPU needs, but none that is more than what a GPU has free.

    The context of the driver lies outside this budget, on top of it.
    """
    needed, allowed = 0.0, 1.0
    for device, predicted in zip(load.devices, estimate.devices, strict=True):
        if device.free_bytes is None or not device.total_bytes:
            return None
        needed = max(needed, (predicted.total_bytes - GPU_CONTEXT_BYTES) / device.total_bytes)
        allowed = min(allowed, (device.free_bytes - GPU_CONTEXT_BYTES) / device.total_bytes)
    if not load.devices:
        return None
    share = min(math.ceil(needed * _STEPS), math.floor(allowed * _STEPS))
    return max(share, 1) / _STEPS


def _in_blocks(tokens: int) -> int:
    return -(-tokens // _BLOCK_TOKENS) * _BLOCK_TOKENS
