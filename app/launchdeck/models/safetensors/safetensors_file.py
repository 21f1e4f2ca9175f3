"""The header of one safetensors file: the names, types and sizes of its tensors, without their data.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from launchdeck.domain.text import Message
from launchdeck.files.reading import NotRegularError, open_regular
from launchdeck.models.cursor import DamagedError, TruncatedError
from launchdeck.models.errors import AGAIN, unreadable, unusable

if TYPE_CHECKING:
    from pathlib import Path

# Bits of one element.
TYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip
# The format allows 100 MB. The largest models stay below 2 MiB a file, and JSON takes ten times its size when read.
_HEADER_LIMIT_BYTES = 16 << 20
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
# More than any tensor has: multiplying a million long numbers would take hours.
_DIMENSION_LIMIT = 64
_NUMBER_LIMIT = 1 << 63


@dataclass(frozen=True, slots=True)
class SafeTensor:
    """One tensor. `type` is the format's own word: F16, BF16, F8_E4M3, I32 and so on."""

    name: str
    type: str
    shape: tuple[int, ...]
    n_bytes: int

    @property
    def element_count(self) -> int:
        return math.prod(self.shape)


def read_tensors(path: Path) -> tuple[tuple[SafeTensor, ...], int]:
    """The tensors of one file, and the file's size in bytes.

    Raises:
        LaunchdeckError: It cannot be used: missing, no safetensors file, damaged, incomplete.
    """
    try:
        with open_regular(path) as file:
            size_bytes = file.seek(0, 2)
            return _read(path, file, size_bytes), size_bytes
    except NotRegularError:
        raise unusable(Message("{path} is a folder or device, not a file.", path=str(path)), AGAIN) from None
    except OSError as error:
        raise unreadable(path, error) from error
    except TruncatedError:
        raise unusable(
            Message("The file {path} is incomplete: it ends inside its header.", path=str(path)), AGAIN
        ) from None
    except DamagedError as damage:
        raise unusable(
            Message("The header of {path} is damaged: {damage}.", path=str(path), damage=str(damage)), AGAIN
        ) from None


def _read(path: Path, file: BinaryIO, size_bytes: int) -> tuple[SafeTensor, ...]:
    file.seek(0)
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size_bytes < _LENGTH_BYTES or length > _HEADER_LIMIT_BYTES or file.read(1) != b"{":
        raise unusable(
            Message("{path} is not a safetensors file.", path=str(path)),
            Message("Choose a model in safetensors format."),
        )
    header = b"{" + file.read(length - 1)
    if len(header) < length:
        raise TruncatedError("it ends too early")
    entries = _decode(header)
    entries.pop(_METADATA, None)
    data_bytes = size_bytes - _LENGTH_BYTES - length
    tensors, end = [], 0
    for name, entry in entries.items():
        tensor, tensor_end = _tensor(name, entry)
        tensors.append(tensor)
        end = max(end, tensor_end)
    if end > data_bytes:
        raise unusable(
            Message(
                "The file {path} is incomplete: it has {size_bytes} of {needed_bytes} bytes.",
                path=str(path),
                size_bytes=size_bytes,
                needed_bytes=size_bytes - data_bytes + end,
            ),
            Message("Wait until its download is complete, or download it again."),
        )
    return tuple(tensors)


def _decode(header: bytes) -> dict[str, Any]:
    try:
        entries = json.loads(header)
    except (ValueError, RecursionError):
        raise DamagedError("it is no JSON") from None
    if not isinstance(entries, dict):
        raise DamagedError("it lists no tensors")
    return entries


def _tensor(name: str, entry: Any) -> tuple[SafeTensor, int]:
    """The tensor and the offset at which its data end."""
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        bits = TYPE_BITS[kind]
    except (KeyError, TypeError, ValueError):
        raise DamagedError(f"the tensor {name[:100]} is not described") from None
    numbers = (*shape, begin, end)
    if len(shape) > _DIMENSION_LIMIT or any(type(n) is not int or not 0 <= n < _NUMBER_LIMIT for n in numbers):
        raise DamagedError(f"the tensor {name[:100]} has an impossible shape")
    if (math.prod(shape) * bits + 7) // 8 != end - begin:
        raise DamagedError(f"the size of the tensor {name[:100]} is not that of its shape")
    return SafeTensor(name, kind, shape, end - begin), end
