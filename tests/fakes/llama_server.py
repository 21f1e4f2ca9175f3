#!/usr/bin/env python3
"""A program in the place of llama-server that the application finds by itself: asked what it can do it answers as
llama-server does, and started with a model it becomes the fake server, or the real one.

What it does then is told in a file beside the model (`NAME.gguf.switches`, a JSON list): switches of fake_server.py.
The real server takes those that concern the tree: workers that leave the session, stubborn or not.

The lines of the devices that it lists stand in the environment (DEVICES_VARIABLE).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

FAKE_SERVER = Path(__file__).with_name("fake_server.py")
DEVICES_VARIABLE = "LAUNCHDECK_FAKE_DEVICES"
VERSION = "version: 10605 (fake)\nbuilt for tests\n"
OPTIONS = (
    "model alias host port ctx-size parallel kv-unified fit n-gpu-layers device split-mode tensor-split main-gpu "
    "embeddings pooling metrics threads batch-size ubatch-size cache-type-k cache-type-v flash-attn log-verbosity "
    "cache-ram"
)
HELP = "".join(f"--{name} VALUE\n" for name in OPTIONS.split())
WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def switches_of(arguments: list[str]) -> list[str]:
    file = Path(arguments[arguments.index("--model") + 1] + ".switches")
    return [str(switch) for switch in json.loads(file.read_text())] if file.exists() else []


def become_real(program: str, arguments: list[str]) -> None:
    switches = switches_of(arguments) if "--model" in arguments else []
    for _ in range(int(switches[switches.index("--workers") + 1]) if "--workers" in switches else 0):
        subprocess.Popen([sys.executable, "-I", "-S", "-c", WORKER], start_new_session=True)
    os.execv(program, [program, *arguments])


def main() -> None:
    real, arguments = sys.argv[1], sys.argv[2:]
    if real:
        become_real(real, arguments)
    if "--model" in arguments:
        command = [sys.executable, "-I", str(FAKE_SERVER), *switches_of(arguments), *arguments]
        os.execv(sys.executable, command)
    devices = "Available devices:\n" + os.environ.get(DEVICES_VARIABLE, "")
    answers = {"--version": VERSION, "--help": HELP, "--list-devices": devices}
    sys.stdout.write(next((answer for option, answer in answers.items() if option in arguments), ""))


def install(folder: Path, real: Path | None = None) -> Path:
    """An executable `llama-server` in this folder; with `real` it is that one."""
    program = folder / "llama-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {__file__} "{real or ""}" "$@"\n')
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    main()
