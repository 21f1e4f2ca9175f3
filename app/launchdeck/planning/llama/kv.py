"""How many bytes the cache of keys and values takes, as llama.cpp's `KV buffer size` lines count them.

Recurrent states ("RS buffer size") count as well: they are what such layers have instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from launchdeck.models.gguf.ggml import BY_NAME
from launchdeck.planning.llama.attention import (
    full_attention_layers,
    indexed_layers,
    recurrent_layers,
    recurrent_state,
    reused_layers,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.models.gguf.ggml import GgmlType
    from launchdeck.planning.llama.hyperparameters import Hyperparameters

_CELLS_MULTIPLE = 256
_GPU_ALIGNMENT = 128
_GPU_ROW = 512
_STATE_ELEMENT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cells:
    """How many tokens the cache has room for: `full` in layers that see everything, `window` in sliding-window ones.

    They are divided among `streams`: one for all sequences where the cache is unified, otherwise one for each.
    """

    full: int
    window: int
    sequences: int
    streams: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How keys and values are stored: by their types, and without any thought of flash attention the values
    `transposed`.
    """

    type_k: GgmlType
    type_v: GgmlType
    transposed: bool

    @classmethod
    def of(cls, type_k: str, type_v: str, *, transposed: bool) -> Layout:
        return cls(BY_NAME[type_k], BY_NAME[type_v], transposed)


class KvCache:
    """What the layers of one model cache; sums for a layout are made once and kept."""

    def __init__(self, hp: Hyperparameters) -> None:
        self._window = window(hp)
        in_window = self._window.layers
        attending = full_attention_layers(hp)
        self._has_values = not hp.integer("attention.key_length_mla")
        swa_k, swa_v = hp.head_lengths(in_window=True)
        values = [
            heads * (swa_v if sliding else hp.value_length)
            for heads, sliding in zip(hp.n_head_kv, in_window, strict=True)
        ]
        # Elements of a token's key and value in every layer; the output layer, the last, has none.
        self.rows: list[tuple[int, int]] = [
            (heads * (swa_k if sliding else hp.key_length) * attends, value * attends * self._has_values)
            for heads, value, sliding, attends in zip(hp.n_head_kv, values, in_window, attending, strict=True)
        ] + [(0, 0)]
        indexer = (hp.integer("attention.indexer.key_length"), hp.value_length * self._has_values)
        self._indexer_rows = [indexer if indexed else (0, 0) for indexed in (*indexed_layers(hp), False)]
        self._widest_value = max(values, default=0)
        self._attending = (*attending, False)
        self._state = recurrent_state(hp)
        self._reused = reused_layers(hp)
        others = (source for layer, source in enumerate(self._reused) if source != layer)
        self._first_reused = min(others, default=hp.n_layer_all)
        self._recurrent_until = (0, *accumulate(recurrent_layers(hp)), sum(recurrent_layers(hp)))
        self._sums: dict[Layout, _Sums] = {}
        self._latest: tuple[Layout, _Sums] | None = None

    @property
    def has_window(self) -> bool:
        return any(self._window.layers)

    def cells(self, n_ctx: int, n_parallel: int, n_ubatch: int, *, unified: bool) -> Cells:
        """Count the cells of a context of `n_ctx` tokens.

        Source: `llama_context` (n_ctx_seq) and `llama_kv_cache_iswa` of llama.cpp.
        """
        full = _padded(n_ctx if unified else _padded(n_ctx, _CELLS_MULTIPLE) // n_parallel, _CELLS_MULTIPLE)
        sliding = min(full, self._window.size * (n_parallel if unified else 1) + n_ubatch)
        streams = 1 if unified else n_parallel
        return Cells(full * streams, _padded(sliding, _CELLS_MULTIPLE) * streams, n_parallel, streams)

    def gpu_bytes(self, first: int, end: int, cells: Cells, layout: Layout) -> int:
        """Add up the bytes of the layers `first` to `end`-1 on a GPU, where quantised rows are padded."""
        sums = self._sums_of(layout)
        return self._bytes(sums, first, end, cells) + sums.gpu_padding[end] - sums.gpu_padding[first]

    def host_bytes(self, end: int, cells: Cells, layout: Layout) -> int:
        """Add up the bytes of the layers 0 to `end`-1 in RAM."""
        return self._bytes(self._sums_of(layout), 0, end, cells)

    def reused_bytes(self, first: int, end: int, cells: Cells, layout: Layout) -> int:
        """Add up the other devices' caches that the layers `first` to `end`-1 read; each layer has its own copy."""
        if first <= self._first_reused:
            return 0
        sums = self._sums_of(layout)
        reused = [source for source in self._reused[first:end] if source < first]
        return sum(self._bytes(sums, source, source + 1, cells) for source in reused)

    def _bytes(self, sums: _Sums, first: int, end: int, cells: Cells) -> int:
        recurrent = self._recurrent_until[end] - self._recurrent_until[first]
        return (
            (sums.full[end] - sums.full[first]) * cells.full
            + (sums.window[end] - sums.window[first]) * cells.window
            + (recurrent * self._state_bytes(cells.sequences) if recurrent else 0)
        )

    def _state_bytes(self, sequences: int) -> int:
        return sum(_padded(size * _STATE_ELEMENT_BYTES * sequences, _GPU_ALIGNMENT) for size in self._state)

    def _sums_of(self, layout: Layout) -> _Sums:
        latest = self._latest
        if latest is not None and latest[0] is layout:  # quicker than to hash it
            return latest[1]
        sums = self._sums.get(layout)
        if sums is None:
            in_window = (*self._window.layers, False)
            sums = self._sums[layout] = _Sums.of(self._stored_rows(layout), self._indexer_rows, in_window, layout)
        self._latest = (layout, sums)
        return sums

    def _stored_rows(self, layout: Layout) -> list[tuple[int, int]]:
        """Transposed values are as wide in every layer as in the widest. Source: TAG_V_CACHE_VARIABLE of llama.cpp."""
        if not layout.transposed or not self._has_values:
            return self.rows
        widest = self._widest_value
        return [(key, widest * attends) for (key, _), attends in zip(self.rows, self._attending, strict=True)]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the layers 0 to i-1: bytes of one cell (`full`, `window`), and what a GPU adds for padding."""

    full: tuple[int, ...]
    window: tuple[int, ...]
    gpu_padding: tuple[int, ...]

    @classmethod
    def of(
        cls,
        rows: Sequence[tuple[int, int]],
        indexer_rows: Sequence[tuple[int, int]],
        in_window: Sequence[bool],
        layout: Layout,
    ) -> _Sums:
        """Add them up. An indexer looks at all cells, even of a layer that attends to a window."""
        sizes, indexer = ([_cell_bytes(row, layout) for row in layers] for layers in (rows, indexer_rows))
        full = (indexed + size * (not w) for size, indexed, w in zip(sizes, indexer, in_window, strict=True))
        padding = (
            _gpu_padding(row, layout) + _gpu_padding(i, layout) for row, i in zip(rows, indexer_rows, strict=True)
        )
        return cls(
            full=(0, *accumulate(full)),
            window=(0, *accumulate(size * w for size, w in zip(sizes, in_window, strict=True))),
            gpu_padding=(0, *accumulate(padding)),
        )


def _cell_bytes(row: tuple[int, int], layout: Layout) -> int:
    return layout.type_k.row_bytes(row[0]) + layout.type_v.row_bytes(row[1])


def _gpu_padding(row: tuple[int, int], layout: Layout) -> int:
    return _tensor_padding(row[0], layout.type_k) + _tensor_padding(row[1], layout.type_v)


def _tensor_padding(row: int, ggml_type: GgmlType) -> int:
    """CUDA pads the last row of a quantised tensor to 512 elements, and the tensor to 128 bytes."""
    if not ggml_type.is_quantised or row % _GPU_ROW == 0:
        return 0
    return _padded(ggml_type.row_bytes(_GPU_ROW - row % _GPU_ROW), _GPU_ALIGNMENT)


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
