#!/usr/bin/env python3
"""A model server that does what its switches say: a real process to supervise, without a model.

It speaks llama-server's command line as far as it has to, and answers GET /health: 503 while loading, then 200.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

IGNORING_WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
WORKER = "import time; time.sleep(600)"
COMPUTE = "while time.monotonic() - begun_s < 0.03: pass"
READ = "open('/dev/zero', 'rb').read(1 << 20)"
TOIL = """
import time
end_s = time.monotonic() + {for_s}
while (begun_s := time.monotonic()) < end_s:
    {what}
    time.sleep(0.07)
"""
CHATTER_S = 0.05
BIRTH_S = 0.03
SERVING_S = 0.1
WAITING: list[socket.socket] = []  # who has asked and gets no answer


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--load-s", type=float, default=0.0, help="seconds of 503 before it is ready")
    parser.add_argument("--exit-code", type=int, help="end at once with this status")
    parser.add_argument("--die-of", type=int, help="end at once by this signal")
    parser.add_argument("--die-after-s", type=float, default=0.0, help="... after so many seconds")
    parser.add_argument("--toil", choices=("compute", "read"), help="what a process of its own does while it loads")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--workers", type=int, default=0, help="processes in sessions of their own")
    parser.add_argument(
        "--births", type=int, default=0, help="... and so many more, one after the other, while it loads"
    )
    parser.add_argument("--stubborn-workers", action="store_true", help="... that ignore SIGTERM")
    parser.add_argument("--flood-mib", type=int, default=0, help="MiB of output before anything else")
    parser.add_argument("--silent", action="store_true", help="do not say that it listens")
    parser.add_argument("--long-line-mib", type=int, default=0, help="MiB of a line that does not end")
    parser.add_argument("--bind-after-s", type=float, default=0.0, help="seconds before it takes its port")
    parser.add_argument("--chatter", action="store_true", help="a line now and then for as long as it lives")
    parser.add_argument("--raw", default="", help="bytes to write, in hex")
    parser.add_argument("--say", action="append", default=[], help="a line to write")
    parser.add_argument("--say-last", action="append", default=[], help="a line to write when it serves already")
    parser.add_argument("--say-env", action="append", default=[], help="an environment variable to write out")
    parser.add_argument("--deaf-after", type=int, help="answer so many health checks with 200 and no more")
    parser.add_argument("--mute-file", help="while this file is there no question is answered, only health checks")
    parser.add_argument("--no-listen", action="store_true")
    parser.add_argument("--reuse-port", action="store_true")
    parser.add_argument("--refuse-bind", type=int, help="pretend that this port was taken meanwhile")
    parser.add_argument("--ready-file", help="since when it could answer with 200 is written here")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input does")
    return parser.parse_known_args()[0]


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def listener_of(args: argparse.Namespace) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if args.reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((args.host, -1 if args.port == args.refuse_bind else args.port))
        listener.listen(64)
    except (OSError, OverflowError):
        say(f"srv  start: couldn't bind HTTP server socket, hostname: {args.host}, port: {args.port}")
        sys.exit(1)
    return listener


def answer(connection: socket.socket, ready_at: float, args: argparse.Namespace) -> bool:
    """Whether it was told that the server is ready."""
    ready_file = args.ready_file
    with connection:
        connection.settimeout(5)
        request = connection.recv(4096)
        if request.startswith(b"POST") and args.mute_file and Path(args.mute_file).exists():
            WAITING.append(connection.dup())
            return False
        if not request:
            return False
        ready = time.monotonic() >= ready_at
        if ready and ready_file and not Path(ready_file).exists():
            Path(ready_file).write_text(str(time.time() - time.monotonic() + ready_at))
        status, body = (b"200 OK", b'{"status":"ok"}') if ready else (b"503 Service Unavailable", b'{"error":{}}')
        connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        connection.recv(4096)  # kept alive until the client ends it, as real servers do
        return ready


def serve(args: argparse.Namespace, listener: socket.socket) -> None:
    ready_at = time.monotonic() + args.load_s
    served = 0
    while args.deaf_after is None or served < args.deaf_after:
        connection, _ = listener.accept()
        try:
            served += answer(connection, ready_at, args)
        except OSError:
            continue
    threading.Event().wait()  # deaf, with its socket open


def flood(mib: int, block: bytes = (b"x" * 63 + b"\n") * 16384) -> None:
    for _ in range(mib):
        view = memoryview(block)
        while view:
            view = view[os.write(1, view) :]


def end_when(args: argparse.Namespace) -> None:
    if args.exit_code is None and args.die_of is None:
        return
    time.sleep(args.die_after_s)
    if args.exit_code is not None:
        os._exit(args.exit_code)
    os.kill(os.getpid(), args.die_of)


def wait_for_stdin() -> None:
    while os.read(0, 1024):
        pass
    os._exit(0)


def bear(code: str) -> None:
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True)


def bear_workers(args: argparse.Namespace) -> None:
    code = IGNORING_WORKER if args.stubborn_workers else WORKER
    for _ in range(args.workers):
        bear(code)
    if args.toil:
        bear(TOIL.format(for_s=args.load_s, what=COMPUTE if args.toil == "compute" else READ))
    threading.Thread(target=bear_more, args=(args.births, code), daemon=True).start()


def bear_more(count: int, code: str) -> None:
    for _ in range(count):
        time.sleep(BIRTH_S)
        bear(code)


def main() -> None:
    args = parse()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if args.ignore_term else signal.SIG_DFL)
    bear_workers(args)
    for line in args.say:
        say(line)
    for name in args.say_env:
        say(f"{name}={os.environ.get(name)}")
    os.write(1, bytes.fromhex(args.raw))
    flood(args.flood_mib)
    flood(args.long_line_mib, b"x" * 2**20)
    time.sleep(args.bind_after_s)
    if args.end_with_stdin:
        threading.Thread(target=wait_for_stdin, daemon=True).start()
    if not args.no_listen:
        threading.Thread(target=serve, args=(args, listener_of(args)), daemon=True).start()
        if args.say_last:
            time.sleep(SERVING_S)
        for line in args.say_last:
            say(line)
        if not args.silent:
            say(f"main: listening on http://{args.host}:{args.port}")
    end_when(args)
    while True:
        time.sleep(CHATTER_S if args.chatter else 600)
        say("slot update_slots: all slots are idle")


if __name__ == "__main__":
    main()
