"""Records that were damaged while their models live: their shims write them anew within moments, and until then nobody
may say that nothing runs.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING, Final

from launchdeck.domain.deployment import DEPLOYMENT_ID
from launchdeck.serving.records.records import Record, read_records
from launchdeck.serving.shim.record import RECORD_NAME, SOCKET_SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from launchdeck.settings.paths import Paths

logger = logging.getLogger(__name__)

HEALED_S: Final = 6.0
"""Three looks of a shim at its record, see `Record.heal`."""
_LOOK_S: Final = 0.1
_CONNECT_TIMEOUT_S: Final = 0.5


def read_healed(paths: Paths) -> list[Record]:
    """All records that can be used, also those that a shim has to write anew first. Blocks, then for seconds."""
    records = read_records(paths.records)
    until_s = time.monotonic() + HEALED_S
    while waited_for := _without_record(paths):
        if time.monotonic() > until_s:
            names = ", ".join(waited_for)
            logger.warning("The supervisors of %s do not write their records anew: these models are not shown", names)
            break
        time.sleep(_LOOK_S)
        records = records if _without_record(paths) == waited_for else read_records(paths.records)
    return records


def _without_record(paths: Paths) -> list[str]:
    """The ids of the folders that have no record while a shim answers for them."""
    try:
        folders = sorted(paths.records.iterdir())
    except OSError:
        return []
    return [
        folder.name
        for folder in folders
        if DEPLOYMENT_ID.fullmatch(folder.name)
        and _is_missing(folder / RECORD_NAME)
        and _somebody_listens(paths.sockets / (folder.name + SOCKET_SUFFIX))
    ]


def _is_missing(file: Path) -> bool:
    try:
        file.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_TIMEOUT_S)
        try:
            client.connect(str(path))
        except (OSError, ValueError):
            return False
    return True
