"""A shim as another version of Launchdeck would have left it: its record and what it says are written out here, and
do not change when ours do. Standard library only.

Arguments: the state and the runtime folder, the record of version 1, the protocol and record version to claim, and
the port of the engine, which is the fake server.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ID = "fbe8cdec"
LOG = b"first line\n"


def process(pid: int) -> list[int]:
    return [pid, int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])]


def main() -> None:
    state, runtime, template, version, port = sys.argv[1:]
    server = [sys.executable, "-I", str(Path(__file__).with_name("fake_server.py")), "--port", port]
    engine = subprocess.Popen(server, stdout=subprocess.DEVNULL, start_new_session=True)
    path = Path(runtime, f"{ID}.sock")
    facts = json.loads(Path(template).read_text())
    facts |= {
        "version": int(version),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "socket": str(path),
        "shim": process(os.getpid()),
        "engine": process(engine.pid),
        "tree": [process(engine.pid)],
    }
    facts["plan"]["port"] = int(port)
    folder = Path(state, "deployments", ID)
    folder.mkdir(parents=True)
    folder.joinpath("record.json").write_text(json.dumps(facts))
    folder.joinpath("log-000000000000000").write_bytes(LOG)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while facts["ended_at_s"] is None:
            connection, _ = listener.accept()
            with connection:
                converse(connection, facts, engine, int(version))
    path.unlink()
    folder.joinpath("record.json").write_text(json.dumps(facts))


def converse(connection: socket.socket, facts: dict[str, Any], engine: subprocess.Popen[bytes], version: int) -> None:
    """Protocol 1, from the hello to the end of the engine or of the connection."""

    def say(**message: Any) -> None:
        connection.sendall(json.dumps(message).encode() + b"\n")

    def status() -> dict[str, Any]:
        return {name: value for name, value in facts.items() if name != "plan"}

    say(event="hello", protocol=version, status=status())
    for line in connection.makefile("rb"):
        request = json.loads(line)
        answers = {"status": {"status": status()}, "secrets": {"secrets": {"api_key": "key-of-then"}}}
        say(reply=request["id"], **answers.get(request["do"], {}))
        if request["do"] == "follow":
            say(event="log", end=len(LOG), data=base64.b64encode(LOG[request["offset"] :]).decode())
        if request["do"] == "stop":
            say(event="stopping")
            engine.terminate()
            engine.wait()
            facts |= {"stop_asked": True, "exit_code": engine.returncode, "ended_at_s": time.time(), "tree": []}
            say(event="ended", following=True, status=status())
            return


if __name__ == "__main__":
    main()
