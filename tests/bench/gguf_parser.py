"""The formulas of gguf-parser-go for a GPU's memory, of its commit 0e66ad99.

Source: file_estimate__llamacpp.go and file_architecture.go of https://github.com/gpustack/gguf-parser-go, with flash
attention, for the architectures of the benchmark: without RWKV, overridden tensors and speculation.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from launchdeck.models.gguf.ggml import BY_NAME
from launchdeck.planning.llama.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from launchdeck.models.gguf.header import GgufHeader, GgufTensor
    from launchdeck.planning.llama.estimate import Load

_PADDING = 256
_OFFLOAD_BATCH = 32
_IO = re.compile(r"(position_|token_|cls\.|output\.|output_|rope_factors_)")
_INPUT = re.compile(r"(position_|token_)")
_ATTENTION = re.compile(r"\.attn_(q|k|v|output|qkv|q_a|q_b|kv_a_mqa|kv_b)\.weight$")
_FEED_FORWARD = re.compile(r"\.ffn_(gate|up|down)(_exps|_shexp)?\.weight$")
# Period of the sliding windows, whether a full layer leads, the width where the model names none.
_WINDOWS = {
    "afmoe": (4, False, 0), "cohere2": (4, False, 0), "cohere2moe": (4, True, 0), "exaone-moe": (4, False, 128),
    "gemma-embedding": (6, False, 0), "gemma2": (2, False, 4096), "gemma3": (6, False, 0), "gemma3n": (5, False, 0),
    "gpt-oss": (2, False, 0), "llama4": (4, False, 8192), "modern-bert": (3, True, 0), "olmo2": (4, False, 0),
    "plamo3": (8, False, 0), "smallthinker": (4, True, 4096),
}  # fmt: skip
_INTERVALS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}


def gguf_parser(header: GgufHeader, load: Load) -> tuple[int, ...]:
    """Bytes on every GPU."""
    return _Run(Hyperparameters(header), load).gpus()


@dataclass(frozen=True)
class _Staged:
    """What the GPU keeps room for because of one layer in RAM: its cache, its largest weights, its new keys."""

    cache: int = 0
    keys: int = 0
    attention: int = 0
    feed_forward: int = 0
    feed_forward_next: int = 0


@dataclass(frozen=True)
class _Run:
    hp: Hyperparameters
    load: Load

    def gpus(self) -> tuple[int, ...]:
        count = len(self.load.devices)
        weights, caches = [0] * (count + 1), [0] * (count + 1)
        for place, layer in enumerate(self.layers):
            weights[self._device(place, len(self.layers))] += sum(tensor.n_bytes for tensor in layer)
        devices = [self._device(block, self.hp.n_layer_all) for block in range(self.hp.n_layer_all)]
        for block, device in enumerate(devices):
            caches[device] += self._cache(block)
        output = devices[-1] or 1
        weights[output] += self._output_bytes
        compute = self._input_bytes + self._compute_bytes
        used = [device == output or device in devices or device == 1 for device in range(count + 1)]
        return tuple(
            weights[device] + caches[device] + compute if used[device] else caches[device]
            for device in range(1, count + 1)
        )

    @cached_property
    def causal(self) -> bool:
        declared = self.hp.get("attention.causal")
        return (declared is None or bool(declared)) and self.hp.integer("pooling_type") <= 2

    @cached_property
    def cells(self) -> int:
        limit = self.load.n_ctx if self.causal else self.hp.integer("context_length")
        return -(-min(self.load.n_ctx, limit) // _PADDING) * _PADDING

    @cached_property
    def tokens(self) -> int:
        return min(self.cells, self.load.n_ubatch) if self.causal else self.cells

    @cached_property
    def layers(self) -> list[list[GgufTensor]]:
        """All but input and output, in groups; the blocks come last."""
        groups: dict[str, list[GgufTensor]] = {}
        for tensor in self.hp.header.tensors:
            if not _IO.match(tensor.name):
                block = re.match(r"blk\.\d+", tensor.name)
                groups.setdefault(block[0] if block else tensor.name, []).append(tensor)
        return [groups[name] for name in sorted(groups, key=lambda name: name.startswith("blk."))]

    @cached_property
    def offloaded(self) -> int:
        return min(self.load.n_gpu_layers - 1, self.hp.n_layer_all)

    @cached_property
    def boundary(self) -> bool:
        return self.offloaded < self.hp.n_layer_all and self.tokens >= _OFFLOAD_BATCH

    @cached_property
    def _output_bytes(self) -> int:
        io = [tensor for tensor in self.hp.header.tensors if _IO.match(tensor.name)]
        tied = not any(tensor.name == "output.weight" for tensor in io)
        return sum(tensor.n_bytes for tensor in io if tied or not _INPUT.match(tensor.name))

    def _device(self, place: int, count: int) -> int:
        start = count - self.offloaded
        if place < start:
            return 0
        shares = list(accumulate(self.load.split))
        return 1 + bisect_right([share / shares[-1] for share in shares], (place - start) / (self.offloaded + 1))

    # Cache

    @cached_property
    def window(self) -> int:
        default = _WINDOWS.get(self.hp.architecture, (1, False, 0))[2]
        if self.hp.architecture == "exaone4" and self.hp.n_layer == 64:
            default = 4096
        return 0 if self.hp.architecture == "phi3" else self.hp.integer("attention.sliding_window", default)

    def _slides(self, block: int) -> bool:
        pattern = self.hp.get("attention.sliding_window_pattern")
        period, leads, _ = _WINDOWS.get(self.hp.architecture, (1, False, 0))
        if self.hp.architecture == "exaone4" and self.hp.n_layer == 64:
            period = 4
        if isinstance(pattern, tuple):
            return block < len(pattern) and bool(pattern[block])
        period = int(pattern) if isinstance(pattern, int) else period
        if not self.window or period == 1:
            return False
        return period == 0 or (block % period != 0 if leads else block % period < period - 1)

    @cached_property
    def interval(self) -> int:
        return self.hp.integer("full_attention_interval", _INTERVALS.get(self.hp.architecture, 0))

    @cached_property
    def hybrid(self) -> bool:
        state = any(map(self.hp.integer, ("ssm.conv_kernel", "ssm.state_size", "shortconv.l_cache", "kda.head_dim")))
        named = self.hp.architecture in {"jamba", "falcon-h1", "granitehybrid"}
        return self.interval > 1 or named or (state and not self.recurrent and 0 in self.hp.n_head_kv)

    @cached_property
    def recurrent(self) -> bool:
        return self.hp.architecture in {"mamba", "mamba2"}

    def _kind(self, block: int) -> tuple[bool, bool]:
        """Whether a layer caches keys and values, and whether it has a state."""
        if self.recurrent:
            return False, True
        if not self.hybrid:
            return True, False
        if self.hp.architecture == "falcon-h1":
            return True, True
        full = (block + 1) % self.interval == 0 if self.interval > 1 else self.hp.n_head_kv[block] > 0
        return full, not full

    def _cache(self, block: int) -> int:
        hp, load = self.hp, self.load
        own = hp.n_layer_all - hp.integer("attention.shared_kv_layers")
        if not self.causal or block >= (20 if hp.architecture == "gemma3n" else own):
            return 0
        full, recurrent = self._kind(block)
        size = 4 * load.n_parallel * self._state if recurrent else 0
        if full:
            keys = hp.integer("attention.key_length_mla", hp.key_length)
            values = hp.integer("attention.value_length_mla", hp.value_length)
            cells = self.cells
            if self._slides(block):
                keys = hp.integer("attention.key_length_swa", keys)
                values = hp.integer("attention.value_length_swa", values)
                cells = min(cells, -(-(self.window * load.n_parallel + load.n_batch) // _PADDING) * _PADDING)
            heads = hp.n_head_kv[block]
            size += _bytes(load.cache_type_k, keys * heads * cells) + _bytes(load.cache_type_v, values * heads * cells)
        return size

    @cached_property
    def _state(self) -> int:
        hp = self.hp
        if hp.integer("shortconv.l_cache"):
            return (hp.integer("shortconv.l_cache") - 1) * hp.n_embd
        return (hp.integer("ssm.conv_kernel") - 1) * self._channels + hp.integer("ssm.state_size") * self._inner

    @cached_property
    def _inner(self) -> int:
        return self.hp.integer("ssm.inner_size")

    @cached_property
    def _channels(self) -> int:
        return self._inner + 2 * self.hp.integer("ssm.group_count") * self.hp.integer("ssm.state_size")

    # Computation

    @cached_property
    def _input_bytes(self) -> int:
        sequences = 4 * self.load.n_parallel * (1 + self.tokens)
        attending = 4 * self.tokens * (1 + self.cells)
        size = 4 * self.hp.n_embd * self.tokens
        size += (sequences if self.recurrent or self.hybrid else 0) + (0 if self.recurrent else attending)
        copies = 1 if len(self.load.devices) == 1 else 2 if self.hp.integer("expert_count") else 4
        return size * copies

    @cached_property
    def _compute_bytes(self) -> int:
        return self._recurrent_moment() if self.recurrent else max(self._attention_moment(), self._ffn_moment())

    def _rows(self, length: int) -> int:
        return 4 * length * self.tokens

    @cached_property
    def _row(self) -> int:
        return self._rows(self.hp.n_embd)

    @cached_property
    def _query(self) -> int:
        return self._rows(self.hp.key_length * self.hp.n_head[0])

    @cached_property
    def _mask(self) -> int:
        return 2 * self.cells * self.tokens * (2 if self.window else 1)

    @cached_property
    def _heads_kv(self) -> int:
        return max(self.hp.n_head_kv, default=0)

    @cached_property
    def _latent(self) -> int:
        return 2 * self._row if any(t.name.endswith(".attn_kv_a_mqa.weight") for t in self.hp.header.tensors) else 0

    @cached_property
    def _staged(self) -> _Staged:
        if not self.boundary:
            return _Staged()
        hp, load = self.hp, self.load
        in_ram = self.layers[: hp.n_layer_all - self.offloaded] or self.layers[:1]
        tensors = [tensor for layer in in_ram for tensor in layer]
        attention = [t.n_bytes for t in tensors if _ATTENTION.search(t.name)]
        ffn = sorted((t.n_bytes for t in tensors if _FEED_FORWARD.search(t.name)), reverse=True)
        elements = self.cells * self._heads_kv
        return _Staged(
            cache=_bytes(load.cache_type_k, hp.key_length * elements)
            + _bytes(load.cache_type_v, hp.value_length * elements),
            keys=self._rows((hp.key_length + hp.value_length) * self._heads_kv),
            attention=max(attention, default=0),
            feed_forward=ffn[0] if ffn else 0,
            feed_forward_next=ffn[1] if len(ffn) > 1 else 0,
        )

    @cached_property
    def _attention_scratch(self) -> int:
        hp, load = self.hp, self.load
        size = self._rows(hp.value_length * hp.n_head[0])
        size += 0 if load.cache_type_k == "f16" else 2 * hp.key_length * self.cells * self._heads_kv
        return size + (0 if load.cache_type_v == "f16" else 2 * hp.value_length * self.cells * self._heads_kv)

    def _attention_moment(self) -> int:
        hp, staged = self.hp, self._staged
        keys = self._rows((hp.key_length + hp.value_length) * self._heads_kv)
        size = self._latent + 3 * self._row + self._query + keys + self._mask + self._attention_scratch
        size += staged.cache + staged.attention + staged.keys + self._stranded
        if hp.architecture == "gemma3n":
            altup = (9 + 16) * self._row + 4 * self.cells * self.tokens + staged.cache + staged.feed_forward
            size = max(size, altup)
        return size

    @cached_property
    def _stranded(self) -> int:
        """The hole of a dense layer among experts."""
        dense = self.hp.n_ff[0] if self.hp.n_ff else 0
        in_ram = self.layers[: self.hp.n_layer_all - self.offloaded] or self.layers[:1]
        mixed = any(not any(".ffn_up_exps." in tensor.name for tensor in layer) for layer in in_ram)
        if not self.hp.integer("expert_count") or not dense or dense == self._expert_length or not mixed:
            return 0
        return min(3 * self._rows(dense), self._attention_scratch)

    @cached_property
    def _expert_length(self) -> int:
        shapes = [tensor.shape for tensor in self.hp.header.tensors if ".ffn_up_exps." in tensor.name]
        return self.hp.integer("expert_feed_forward_length", shapes[-1][1] if shapes else 0)

    def _ffn_moment(self) -> int:
        acts, last = self._experts() if self.hp.integer("expert_count") else self._dense()
        size = self._latent + 4 * self._row + self._query + self._mask + acts
        size += self._stranded if self.boundary else 0
        size += self._attention_scratch if self.window else 0
        if self._inner:
            zx = self._rows(self._inner + self._channels)
            ssm = zx + 2 * self._rows(self._channels) + 4 * self._row + zx // 2 + self._mask
            ssm += last + self._row if self.hp.architecture in {"plamo2", "nemotron_h"} else 0
            size = max(size, ssm + self._staged.cache + self._staged.attention)
        return size

    def _experts(self) -> tuple[int, int]:
        hp, staged = self.hp, self._staged
        used, count = hp.integer("expert_used_count"), hp.integer("expert_count")
        act, down = self._rows(self._expert_length * used), self._rows(hp.n_embd * used)
        stack = 3 * act + 3 * self._rows(hp.integer("expert_shared_feed_forward_length"))
        stack += down if down > 2 * act else 0
        if self.boundary:
            stack = max(stack + self._squeezed(act), act + staged.feed_forward + staged.attention + down + staged.keys)
        return 4 * count * hp.n_embd + self._rows(count) + stack, act

    def _dense(self) -> tuple[int, int]:
        staged, declared = self._staged, max(self.hp.n_ff, default=0)
        names = {tensor.name.split(".", 2)[-1]: tensor for tensor in self.hp.header.tensors}
        length = max(declared, names["ffn_up.weight"].shape[-1] if "ffn_up.weight" in names else 0)
        gated = "ffn_gate.weight" in names
        act = self._rows(length)
        stack = act + self._row
        if gated:
            stack = 3 * act
        elif declared and length >= 2 * declared:
            stack = act + act // 2 + self._row
        if self.boundary:
            down = act + staged.feed_forward + staged.attention + self._row + staged.keys
            stack = max(stack + self._squeezed(act), down + (0 if gated else staged.feed_forward_next))
        return stack, act

    def _squeezed(self, act: int) -> int:
        staged = self._staged
        slots = (staged.cache, staged.attention, staged.feed_forward, staged.feed_forward)
        return sum(min(slot, act) for slot in slots)

    def _recurrent_moment(self) -> int:
        hp, parallel = self.hp, self.load.n_parallel
        size = 4 * (hp.integer("ssm.conv_kernel") - 1) * self._channels * parallel
        for tensor in self.layers[-1]:
            part = tensor.name.split(".", 2)[-1]
            if part in {"attn_norm.weight", "ssm_in.weight", "ssm_dt.weight"}:
                size += self._rows(tensor.shape[-1])
            elif part == "ssm_conv1d.weight":
                size += 4 * self._inner * (self.tokens + hp.integer("ssm.conv_kernel") * parallel)
            elif part == "ssm_a":
                size += 4 * self._inner * (self.tokens + hp.integer("ssm.state_size") * parallel)
        zx = self._rows(self._inner + self._channels)
        size = max(size, zx + 2 * self._rows(self._channels) + 2 * self._row + zx // 2) + 2 * self._row
        return size + (max(tensor.n_bytes for tensor in self.layers[0]) if self.boundary else 0)


def _bytes(cache_type: str, elements: int) -> int:
    return BY_NAME[cache_type].row_bytes(elements)
