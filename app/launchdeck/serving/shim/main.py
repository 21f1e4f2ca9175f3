"""The launcher of a model's supervisor, and then, forked off, the supervisor: the shim.

Run by its path, `python -I -S shim/main.py ID`, with the specification as JSON on standard input, so that secrets stand
in no argument. The launcher binds the socket, forks, prints {"socket": path} and exits 0, or prints {"error": why}
and exits 1. The shim is then nobody's child but init's, in a session of its own, and imports nothing later on: the
application may end, crash or be replaced by a newer one meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

sys.path.append(os.path.abspath(__file__).removesuffix(os.path.join("launchdeck", "serving", "shim", "main.py")))

from launchdeck.files.removal import remove_socket
from launchdeck.serving.shim.engine import become_subreaper
from launchdeck.serving.shim.record import make_folder
from launchdeck.serving.shim.server import Shim, listen, split_socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any


def main() -> int:
    try:
        spec = read_spec()
        make_folder(spec["folder"])
        listener = listen(spec["socket"])
    except (OSError, ValueError) as error:
        sys.stdout.write(json.dumps({"error": str(error)}))
        return 1
    report, answer = os.pipe()
    if os.fork() == 0:
        os.close(report)
        return run_shim(spec, listener, answer)
    os.close(answer)
    listener.close()
    with os.fdopen(report) as file:
        reason = file.read()
    sys.stdout.write(json.dumps({"error": reason} if reason else {"socket": spec["socket"]}))
    return 1 if reason else 0


def read_spec() -> dict[str, Any]:
    """Raises OSError, ValueError.

    Whoever asked may have died since: the next application may have looked for records already, and would not find
    this model's. (An application of an older version does not say who it is.)
    """
    spec: dict[str, Any] = json.load(sys.stdin)
    if os.getppid() != spec.get("launched_by", os.getppid()):
        raise OSError("the application that asked for it has ended")
    return spec


def run_shim(spec: dict[str, Any], listener: socket.socket, answer: int) -> int:
    """Returns when the model has ended. Why it could not begin is written to `answer`, which is closed otherwise."""
    try:
        os.setsid()
        leave_terminal(spec["folder"])
        become_subreaper()
        shim = Shim(spec, listener)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove_socket(*split_socket(spec["socket"]))
        os.write(answer, str(error).encode())
        return 1
    os.close(answer)
    shim.run()
    return 0


def leave_terminal(folder: str) -> None:
    """Standard input and output to nowhere; standard error, where only a traceback of the shim goes, to a file."""
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(
        os.path.join(folder, "shim.err"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
    )
    for target, source in ((0, null), (1, null), (2, errors)):
        os.dup2(source, target)


if __name__ == "__main__":
    sys.exit(main())
