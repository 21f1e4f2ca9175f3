"""The header of one GGUF file: its metadata and tensors, without the tensors' data.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import TYPE_CHECKING

from launchdeck.domain.text import Message
from launchdeck.files.reading import NotRegularError, open_regular
from launchdeck.models.cursor import Cursor, DamagedError, TruncatedError
from launchdeck.models.errors import AGAIN, unreadable, unusable
from launchdeck.models.gguf.ggml import TYPES, GgmlType
from launchdeck.models.gguf.header import GgufHeader, GgufTensor, Value

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING = 8
_ARRAY = 9
_SMALLEST_PAIR_BYTES = 13  # a key's length, a value's type, a value of one byte
_SMALLEST_TENSOR_BYTES = 24  # a name's length, the count of dimensions, type, offset
_KEY_LIMIT_BYTES = 1 << 16
_NAME_LIMIT_BYTES = 63  # GGML_MAX_NAME, without the zero at its end
_STRING_LIMIT_BYTES = 1 << 16
_ARRAY_LIMIT = 4096
_STRINGS_LIMIT = 1 << 22  # eight times the longest list of merges; a hole in a file could pass for any number
_DIMENSION_LIMIT = 4
_DEFAULT_ALIGNMENT = 32


def read_file(path: Path, shard: int = 0) -> GgufHeader:
    """Read the header of one file, shard number `shard` (from 0) of its model.

    Raises:
        LaunchdeckError: It cannot be used: missing, not a GGUF, damaged, incomplete.
    """
    try:
        with open_regular(path) as file:
            size_bytes = file.seek(0, 2)
            return _Reader(path, Cursor(file, size_bytes), size_bytes, shard).header()
    except NotRegularError:
        raise unusable(
            Message("{path} is a folder or device, not a file.", path=str(path)),
            Message("Choose the .gguf file inside it."),
        ) from None
    except OSError as error:
        raise unreadable(path, error) from error
    except TruncatedError:
        message = Message("The file {path} is incomplete: it ends inside its header.", path=str(path))
        raise unusable(message, AGAIN) from None
    except DamagedError as damage:
        message = Message("The header of {path} is damaged: {damage}.", path=str(path), damage=str(damage))
        raise unusable(message, AGAIN) from None


class _Reader:
    """One file's header, from its magic to its last tensor. Source: `gguf_init_from_file_impl` of llama.cpp."""

    def __init__(self, path: Path, cursor: Cursor, size_bytes: int, shard: int) -> None:
        self._path = path
        self._cursor = cursor
        self._size_bytes = size_bytes
        self._shard = shard
        self._metadata: dict[str, Value] = {}
        self._array_lengths: dict[str, int] = {}

    def header(self) -> GgufHeader:
        version = self._version()
        tensor_count, pair_count = self._cursor.unpack("QQ")
        if tensor_count > self._cursor.remaining // _SMALLEST_TENSOR_BYTES:
            raise DamagedError(f"it cannot hold {tensor_count} tensors")
        if pair_count > self._cursor.remaining // _SMALLEST_PAIR_BYTES:
            raise DamagedError(f"it cannot hold {pair_count} keys")
        for _ in range(pair_count):
            self._read_pair()
        tensors = self._tensors(tensor_count)
        return GgufHeader(
            path=self._path,
            files=(self._path,),
            size_bytes=self._size_bytes,
            version=version,
            byte_order=self._cursor.byte_order,
            metadata=MappingProxyType(self._metadata),
            array_lengths=MappingProxyType(self._array_lengths),
            tensors=tensors,
        )

    def _version(self) -> int:
        if self._size_bytes == 0:
            raise unusable(Message("The file {path} is empty.", path=str(self._path)), AGAIN)
        magic = self._cursor.take(min(len(_MAGIC), self._size_bytes))
        if magic != _MAGIC:
            raise unusable(
                Message("{path} is not a GGUF file.", path=str(self._path)),
                Message("Choose a model in GGUF format, or convert this one."),
            )
        (version,) = self._cursor.unpack("I")
        if version & 0xFFFF == 0:
            self._cursor.byte_order = "big"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version not in _VERSIONS:
            raise unusable(
                Message(
                    "{path} has version {version} of the GGUF format, which is unknown.",
                    path=str(self._path),
                    version=version,
                ),
                Message("Download the model in version 2 or 3."),
            )
        return int(version)

    def _read_pair(self) -> None:
        key = self._cursor.string(_KEY_LIMIT_BYTES)
        if not key or key in self._array_lengths or key in self._metadata:
            raise DamagedError("a key is too long, empty or there twice")
        (kind,) = self._cursor.unpack("I")
        if kind == _ARRAY:
            self._read_array(key)
        elif kind == _STRING:
            text = self._cursor.string(_STRING_LIMIT_BYTES)
            if text is not None:
                self._metadata[key] = text
        else:
            (self._metadata[key],) = self._cursor.unpack(_layout(kind))

    def _read_array(self, key: str) -> None:
        kind, count = self._cursor.unpack("IQ")
        self._array_lengths[key] = count
        if kind == _STRING:
            if count > min(self._cursor.remaining // 8, _STRINGS_LIMIT):
                raise DamagedError(f"it cannot hold {count} strings")
            self._cursor.skip_strings(count)
        elif count <= _ARRAY_LIMIT:
            self._metadata[key] = self._cursor.unpack(f"{count}{_layout(kind)}")
        else:
            self._cursor.skip(count * struct.calcsize("=" + _layout(kind)))

    def _tensors(self, count: int) -> tuple[GgufTensor, ...]:
        entries = [self._tensor() for _ in range(count)]
        if len({tensor.name for tensor, _ in entries}) != count:
            raise DamagedError("two tensors have the same name")
        alignment = self._metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment <= 0 or alignment & (alignment - 1):
            raise DamagedError(f"its alignment is {alignment}")
        data_at = -(-self._cursor.position // alignment) * alignment
        if any(offset % alignment for _, offset in entries):
            raise DamagedError("a tensor is not aligned")
        needed = max((data_at + offset + tensor.n_bytes for tensor, offset in entries), default=0)
        if needed > self._size_bytes:
            raise unusable(
                Message(
                    "The file {path} is incomplete: it has {size_bytes} of {needed_bytes} bytes.",
                    path=str(self._path),
                    size_bytes=self._size_bytes,
                    needed_bytes=needed,
                ),
                Message("Wait until its download is complete, or download it again."),
            )
        return tuple(tensor for tensor, _ in entries)

    def _tensor(self) -> tuple[GgufTensor, int]:
        name = self._cursor.string(_NAME_LIMIT_BYTES)
        (dimensions,) = self._cursor.unpack("I")
        if not name or dimensions > _DIMENSION_LIMIT:
            raise DamagedError("a tensor has no proper name or too many dimensions")
        shape: tuple[int, ...] = self._cursor.unpack(f"{dimensions}Q")
        kind, offset = self._cursor.unpack("IQ")
        ggml_type = TYPES.get(kind)
        if ggml_type is None:
            raise unusable(
                Message("{path} has a tensor of a type that is unknown: {type}.", path=str(self._path), type=kind),
                Message("Use a model with another quantisation."),
            )
        return GgufTensor(name, shape, ggml_type, _tensor_bytes(name, shape, ggml_type), self._shard), offset


def _tensor_bytes(name: str, shape: tuple[int, ...], ggml_type: GgmlType) -> int:
    row = shape[0] if shape else 1
    rows = 1
    for length in shape[1:]:
        rows *= length
    if row * rows == 0 or row % ggml_type.block_size:
        raise DamagedError(f"the tensor {name[:100]} has an impossible shape")
    return ggml_type.row_bytes(row) * rows


def _layout(kind: int) -> str:
    layout = _SCALARS.get(kind)
    if layout is None:
        raise DamagedError(f"it has a value of an unknown type, {kind}")
    return layout
