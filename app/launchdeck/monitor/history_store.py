"""The history's file, so that 24 hours survive a restart, and all but the last minutes a crash."""

from __future__ import annotations

import errno
import io
import logging
import math
import os
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib import format as npy

from launchdeck.files.aside import set_aside
from launchdeck.files.reading import open_regular
from launchdeck.files.replacing import replacing
from launchdeck.monitor.history import METRICS, Rows

logger = logging.getLogger(__name__)

LIMIT_BYTES: Final = 512 << 20
"""A day at a second of 256 devices."""
MOST_DEVICES: Final = 1024
_FORMAT = 1
_READ_HEADER: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class HistoryStore:
    """A numpy archive, readable by the user alone: 24 bytes a sample of a device, at most 24 hours of them.

    Both methods touch the disk and may be called from any thread; neither raises for what a disk can do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failing = False
        self._is_unread = False

    def load(self) -> dict[str, Rows]:
        """What was saved last, by the device's UUID; nothing where there is no file.

        A file that cannot be understood is set aside as `.corrupt`, and the log says so.
        """
        try:
            data = _read(self._path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._is_unread = True
            logger.warning("The history of the GPUs in %s cannot be read: %s", self._path, error.strerror or error)
            return {}
        except ValueError as error:
            self._set_aside(error)
            return {}
        try:
            return _unpacked(data)
        except Exception as error:  # noqa: BLE001 (zipfile and numpy raise all kinds over a file that is none of ours)
            self._set_aside(error)
            return {}

    def save(self, rows: Mapping[str, Rows]) -> None:
        """Replace the file by these rows: a crash leaves the old file or the new one. What could not be read is kept
        beside it.
        """
        with self._lock:
            if self._is_unread:
                self._set_aside("it could not be read")
            try:
                if self._is_unread:
                    raise FileExistsError(errno.EEXIST, "what is there cannot be read, and cannot be renamed")
                _replace(self._path, rows)
            except OSError as error:
                if not self._failing:
                    logger.warning("The history of the GPUs could not be saved: %s", error)
                self._failing = True
            else:
                self._failing = False

    def _set_aside(self, reason: object) -> None:
        kept = set_aside(self._path)
        self._is_unread = kept == self._path
        logger.warning("The history of the GPUs could not be used (%s); it is kept as %s", reason, kept)


def _read(path: Path) -> bytes:
    """Raises OSError, and ValueError for a file that is too large."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LIMIT_BYTES:
            raise ValueError(f"it has more than {LIMIT_BYTES} bytes")
        return file.read(size)


def _unpacked(data: bytes) -> dict[str, Rows]:
    """Raises whatever zipfile and numpy do, and ValueError or KeyError where the archive is not one of ours."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("its parts are larger than the whole")
        if (version := int(_array(archive, "format"))) != _FORMAT:
            raise ValueError(f"format {version}")
        uuids = _array(archive, "uuids")
        if uuids.dtype.kind != "U" or uuids.ndim != 1 or len(uuids) > MOST_DEVICES:
            raise ValueError("its devices are not named")
        return {str(uuid): _rows(archive, place, str(uuid)[:80]) for place, uuid in enumerate(uuids)}


def _rows(archive: zipfile.ZipFile, place: int, uuid: str) -> Rows:
    times, values = _array(archive, f"times_{place}"), _array(archive, f"values_{place}")
    if times.dtype != np.float64 or values.dtype != np.float32 or values.shape != (len(METRICS), *times.shape):
        raise ValueError(f"the rows of {uuid} have another shape")
    if times.ndim != 1 or not np.isfinite(times).all() or not (np.diff(times) > 0).all():
        raise ValueError(f"the times of {uuid} do not ascend")
    if np.isinf(values).any():
        raise ValueError(f"the values of {uuid} are infinite")
    return times, values


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array, whose header is believed only as far as the data go: what it promises is made room for otherwise."""
    data = archive.read(f"{name}.npy")
    file = io.BytesIO(data)
    read_header = _READ_HEADER[npy.read_magic(file)]
    shape, is_fortran, dtype = read_header(file)
    start = file.tell()
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"{name} is not as large as it says")
    flat = np.frombuffer(data, dtype, offset=start) if len(data) > start else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _replace(path: Path, rows: Mapping[str, Rows]) -> None:
    arrays: dict[str, np.ndarray] = {"format": np.array(_FORMAT), "uuids": np.array(list(rows), np.str_)}
    for place, (times, values) in enumerate(rows.values()):
        arrays[f"times_{place}"], arrays[f"values_{place}"] = times, values
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
