#!/usr/bin/env python3
"""A program in the place of llama-server that the application finds by itself: asked what it can do it answers as
llama-server does, and started with a model it becomes the fake server, or the real one.

What it does then is told in a file beside the model (`NAME.gguf.switches`, a JSON list): switches of fake_server.py.
The real server takes those that concern the tree: workers that leave the session, stubborn or not.

Its devices stand in a file beside it (`llama-server.devices`, a JSON list of their lines in `--list-devices` and where
they sit on the bus); started with some of them it says so, as llama.cpp does.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FAKE_SERVER = Path(__file__).with_name("fake_server.py")
VERSION = "version: 10605 (fake)\nbuilt for tests\n"
OPTIONS = (
    "model alias host port ctx-size parallel kv-unified fit n-gpu-layers device split-mode tensor-split main-gpu "
    "embeddings pooling metrics threads batch-size ubatch-size cache-type-k cache-type-v flash-attn log-verbosity "
    "cache-ram"
)
HELP = "".join(f"--{name} VALUE\n" for name in OPTIONS.split())
LISTED = re.compile(r"(\w+): (.*) \(\d+ MiB, (\d+) MiB free\)")
WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def switches_of(arguments: list[str]) -> list[str]:
    file = Path(arguments[arguments.index("--model") + 1] + ".switches")
    return [str(switch) for switch in json.loads(file.read_text())] if file.exists() else []


def become_real(program: str, arguments: list[str]) -> None:
    switches = switches_of(arguments) if "--model" in arguments else []
    for _ in range(int(switches[switches.index("--workers") + 1]) if "--workers" in switches else 0):
        subprocess.Popen([sys.executable, "-I", "-S", "-c", WORKER], start_new_session=True)
    os.execv(program, [program, *arguments])


def used_device(name: str, text: str, address: str, free_mib: object) -> str:
    """What llama.cpp says of one device that it uses: the proof of where a model lies."""
    return f"llama_prepare_model_devices: using device {name} ({text}) ({address}) - {free_mib} MiB free"


def lines_of_devices(devices: list[list[str]], arguments: list[str]) -> list[str]:
    """What llama.cpp says of the devices that it is to use."""
    asked = arguments[arguments.index("--device") + 1].split(",") if "--device" in arguments else []
    known = {match[1]: (match[2], match[3], address) for line, address in devices if (match := LISTED.fullmatch(line))}
    return [
        used_device(name, text, address, free)
        for name in asked
        if name in known
        for text, free, address in (known[name],)
    ]


def main() -> None:
    real, devices_file, arguments = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    if real:
        become_real(real, arguments)
    devices = json.loads(devices_file.read_text()) if devices_file.exists() else []
    if "--model" in arguments:
        said = [word for line in lines_of_devices(devices, arguments) for word in ("--say", line)]
        command = [sys.executable, "-I", str(FAKE_SERVER), *said, *switches_of(arguments), *arguments]
        os.execv(sys.executable, command)
    listing = "Available devices:\n" + "".join(f"  {line}\n" for line, _ in devices)
    answers = {"--version": VERSION, "--help": HELP, "--list-devices": listing}
    sys.stdout.write(next((answer for option, answer in answers.items() if option in arguments), ""))


def install(folder: Path, real: Path | None = None, devices: Sequence[tuple[str, str]] = ()) -> Path:
    """An executable `llama-server` in this folder; with `real` it is that one. `devices`: lines and addresses."""
    program = folder / "llama-server"
    devices_file = program.with_suffix(".devices")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I {__file__} "{real or ""}" "{devices_file}" "$@"\n')
    if devices:
        devices_file.write_text(json.dumps(devices))
    program.chmod(0o755)
    return program


if __name__ == "__main__":
    main()
