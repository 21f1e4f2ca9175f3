"""The history's file, so that 24 hours survive a restart, and all but the last minutes a crash."""

from __future__ import annotations

import logging
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from launchdeck.files.replacing import replacing
from launchdeck.monitor.history import METRICS, Rows

logger = logging.getLogger(__name__)

_FORMAT = 1


class HistoryStore:
    """A numpy archive, readable by the user alone: 24 bytes a sample of a device, at most 24 hours of them.

    Both methods touch the disk and may be called from any thread; neither raises for what a disk can do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._failing = False

    def load(self) -> dict[str, Rows]:
        """What was saved last, by the device's UUID; nothing where there is no file.

        A file that cannot be understood is set aside as `.corrupt`, and the log says so.
        """
        try:
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return _unpacked(archive)
        except FileNotFoundError:
            return {}
        except OSError as error:
            logger.warning("The history of the GPUs in %s cannot be read: %s", self._path, error.strerror or error)
            return {}
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            self._set_aside(error)
            return {}

    def save(self, rows: Mapping[str, Rows]) -> None:
        """Replace the file by these rows: a crash leaves the old file or the new one."""
        with self._lock:
            try:
                _replace(self._path, rows)
            except OSError as error:
                if not self._failing:
                    logger.warning("The history of the GPUs could not be saved: %s", error)
                self._failing = True
            else:
                self._failing = False

    def _set_aside(self, error: Exception) -> None:
        kept = self._path.with_name(self._path.name + ".corrupt")
        logger.warning("The history of the GPUs could not be used (%s); it is kept as %s", error, kept)
        try:
            self._path.replace(kept)
        except OSError as failure:
            logger.warning("%s could not be renamed: %s", self._path, failure)


def _unpacked(archive: Mapping[str, np.ndarray]) -> dict[str, Rows]:
    """Raises ValueError or KeyError where the archive is not one of ours."""
    if int(archive["format"]) != _FORMAT:
        raise ValueError(f"format {archive['format']}")
    rows = {}
    for place, uuid in enumerate(archive["uuids"]):
        times, values = archive[f"times_{place}"], archive[f"values_{place}"]
        if times.dtype != np.float64 or values.dtype != np.float32 or values.shape != (len(METRICS), *times.shape):
            raise ValueError(f"the rows of {uuid} have another shape")
        if not (np.diff(times) > 0).all():
            raise ValueError(f"the times of {uuid} do not ascend")
        rows[str(uuid)] = (times, values)
    return rows


def _replace(path: Path, rows: Mapping[str, Rows]) -> None:
    arrays: dict[str, np.ndarray] = {"format": np.array(_FORMAT), "uuids": np.array(list(rows), np.str_)}
    for place, (times, values) in enumerate(rows.values()):
        arrays[f"times_{place}"], arrays[f"values_{place}"] = times, values
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
