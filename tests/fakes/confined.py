"""Running what may delete, or what has to be refused something, as somebody who can do no harm.

Root is granted everything, and its mistakes are final. For root a script runs where all but one folder is read-only,
and without the capabilities of root, so that permissions bind it as they bind anybody. Other users are confined as
they are.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_WITHOUT_RIGHTS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
_READ_ONLY_BUT = 'mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'


def run_confined(script: Path, folder: Path, arguments: Sequence[object] = (), timeout_s: float = 100.0) -> str:
    """Run a Python script that is given `folder`, the only one it can write to, and `arguments`. Give its output.

    LAUNCHDECK_HOME is below the folder. What the script says when it fails, fails the test.
    """
    done = subprocess.run(
        [*_prefix(folder), sys.executable, str(script), str(folder), *map(str, arguments)],
        env=_environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def _prefix(folder: Path) -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    if not _can_mount():
        return _WITHOUT_RIGHTS
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", _READ_ONLY_BUT, str(folder), *_WITHOUT_RIGHTS)


@cache
def _can_mount() -> bool:
    """Some containers allow no mounts, not even private ones."""
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-o", "remount,bind,ro", "/"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    return kept | {
        "HOME": str(folder),
        "LAUNCHDECK_HOME": str(folder / "launchdeck"),
        "TMPDIR": str(folder),
        "PYTHONPATH": f"{_TESTS}:{_TESTS.parent / 'app'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "QT_QPA_PLATFORM": "offscreen",
    }
