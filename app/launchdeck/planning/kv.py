"""How many bytes the cache of keys and values takes, as llama.cpp's `KV buffer size` lines count them.

Recurrent states ("RS buffer size") count as well: they are what such layers have instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from launchdeck.models.ggml import BY_NAME
from launchdeck.planning.attention import full_attention_layers, recurrent_layers, recurrent_state, window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launchdeck.models.ggml import GgmlType
    from launchdeck.planning.hyperparameters import Hyperparameters

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


class KvCache:
    """What the layers of one model cache; sums for a pair of types are made once and kept."""

    def __init__(self, hp: Hyperparameters) -> None:
        self._window = window(hp)
        in_window = self._window.layers
        attending = full_attention_layers(hp)
        mla = bool(hp.integer("attention.key_length_mla"))
        swa_k = hp.integer("attention.key_length_swa", hp.key_length)
        swa_v = hp.integer("attention.value_length_swa", hp.value_length)
        # Elements of a token's key and value in every layer; the output layer, the last, has none.
        self.rows: list[tuple[int, int]] = [
            (
                heads * (swa_k if sliding else hp.key_length) * attends,
                0 if mla else heads * (swa_v if sliding else hp.value_length) * attends,
            )
            for heads, sliding, attends in zip(hp.n_head_kv, in_window, attending, strict=True)
        ] + [(0, 0)]
        self._state = recurrent_state(hp)
        self._recurrent_until = (0, *accumulate(recurrent_layers(hp)), sum(recurrent_layers(hp)))
        self._sums: dict[tuple[str, str], _Sums] = {}

    @property
    def has_window(self) -> bool:
        return any(self._window.layers)

    def cells(self, n_ctx: int, n_parallel: int, n_ubatch: int, *, unified: bool) -> Cells:
        """Source: `llama_context` (n_ctx_seq) and `llama_kv_cache_iswa` of llama.cpp."""
        full = _padded(n_ctx if unified else _padded(n_ctx, _CELLS_MULTIPLE) // n_parallel, _CELLS_MULTIPLE)
        sliding = min(full, self._window.size * (n_parallel if unified else 1) + n_ubatch)
        streams = 1 if unified else n_parallel
        return Cells(full * streams, _padded(sliding, _CELLS_MULTIPLE) * streams, n_parallel, streams)

    def gpu_bytes(self, first: int, end: int, cells: Cells, type_k: str, type_v: str) -> int:
        """Bytes of the layers `first` to `end`-1 on a GPU, where quantised rows are padded."""
        sums = self._sums_of(type_k, type_v)
        return self._bytes(sums, first, end, cells) + sums.gpu_padding[end] - sums.gpu_padding[first]

    def host_bytes(self, end: int, cells: Cells, type_k: str, type_v: str) -> int:
        """Bytes of the layers 0 to `end`-1 in RAM."""
        return self._bytes(self._sums_of(type_k, type_v), 0, end, cells)

    def _bytes(self, sums: _Sums, first: int, end: int, cells: Cells) -> int:
        recurrent = self._recurrent_until[end] - self._recurrent_until[first]
        return (
            (sums.full[end] - sums.full[first]) * cells.full
            + (sums.window[end] - sums.window[first]) * cells.window
            + (recurrent * self._state_bytes(cells.sequences) if recurrent else 0)
        )

    def _state_bytes(self, sequences: int) -> int:
        return sum(_padded(size * _STATE_ELEMENT_BYTES * sequences, _GPU_ALIGNMENT) for size in self._state)

    def _sums_of(self, type_k: str, type_v: str) -> _Sums:
        sums = self._sums.get((type_k, type_v))
        if sums is None:
            sums = _Sums.of(self.rows, (*self._window.layers, False), BY_NAME[type_k], BY_NAME[type_v])
            self._sums[type_k, type_v] = sums
        return sums


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over the layers 0 to i-1: bytes of one cell (`full`, `window`), and what a GPU adds for padding."""

    full: tuple[int, ...]
    window: tuple[int, ...]
    gpu_padding: tuple[int, ...]

    @classmethod
    def of(
        cls, rows: Sequence[tuple[int, int]], in_window: Sequence[bool], type_k: GgmlType, type_v: GgmlType
    ) -> _Sums:
        bytes_per_cell = [type_k.row_bytes(k) + type_v.row_bytes(v) for k, v in rows]
        padding = (_gpu_padding(k, type_k) + _gpu_padding(v, type_v) for k, v in rows)
        return cls(
            full=(0, *accumulate(0 if w else size for size, w in zip(bytes_per_cell, in_window, strict=True))),
            window=(0, *accumulate(size if w else 0 for size, w in zip(bytes_per_cell, in_window, strict=True))),
            gpu_padding=(0, *accumulate(padding)),
        )


def _gpu_padding(row: int, ggml_type: GgmlType) -> int:
    """CUDA pads the last row of a quantised tensor to 512 elements, and the tensor to 128 bytes."""
    if not ggml_type.is_quantised or row % _GPU_ROW == 0:
        return 0
    return _padded(ggml_type.row_bytes(_GPU_ROW - row % _GPU_ROW), _GPU_ALIGNMENT)


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
