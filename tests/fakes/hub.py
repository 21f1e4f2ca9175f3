"""A server that speaks like the Hugging Face hub and like GitHub's releases, with breaks in the middle of a file."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class FakeHub(ThreadingHTTPServer):
    """`files` are the contents by "OWNER/NAME/FILE". Each number in `breaks` ends one answer after so many bytes.

    Each number in `refusals` is the status of one answer for a file.

    `releases` are the files of each release, by its tag, by "OWNER/NAME"; the newest first.

    With a `certificate` (and its key) it speaks TLS. `leads_to` is another server that the files are on.

    `api` says instead what the API would say, and `named_url` is how the server is named in what it lists.

    Each of `answers` is given once instead of what the API would say: a status, headers and a body. `page` comes
    instead of everything, as from a network that wants a log-in first.

    `hold_at`: after so many bytes of a file nothing more comes before `go_on` is set. `chunks`: a file comes without
    its length, in so many bytes each; `short`: and ends after so many, as if that were all.

    `ranges` are the starts that were asked for, `tokens` the Authorization headers that came.
    """

    daemon_threads = True

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
            self._scheme = "https"
        self.files: dict[str, bytes] = {}
        self.releases: dict[str, dict[str, list[str]]] = {}
        self.breaks: list[int] = []
        self.refusals: list[int] = []
        self.ranges: list[int] = []
        self.tokens: list[str | None] = []
        self.knows_ranges = True
        self.lists_sizes = True
        self.lists_checksums = True
        self.wrong_content = False
        self.leads_to: str | None = None
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.page: bytes | None = None
        self.hold_at: int | None = None
        self.go_on = threading.Event()
        self.chunks: int | None = None
        self.short: int | None = None
        self.asked: list[str] = []
        self.api: Callable[[str], tuple[int, dict[str, str], bytes]] | None = None
        self.named_url: str | None = None
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle, or that does not trust us: the client's tests tell."""

    def asset(self, repository: str, name: str) -> dict[str, object]:
        """A file as a release lists it."""
        content = self.files[f"{repository}/{name}"]
        return {
            "name": name,
            "state": "uploaded",
            "size": len(content),
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "browser_download_url": f"{self.named_url or self.url}/{repository}/resolve/main/{name}",
        }

    def repositories(self) -> list[str]:
        return sorted({"/".join(name.split("/")[:2]) for name in self.files})


def _size(content: bytes) -> dict[str, object]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"size": len(content), "lfs": {"sha256": sha256, "size": len(content), "pointerSize": 130}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def do_GET(self) -> None:
        self.server.tokens.append(self.headers.get("Authorization"))
        self.server.asked.append(self.path)
        address = urlsplit(self.path)
        if self.server.page is not None:
            self._give(200, {"Content-Type": "text/html; charset=utf-8"}, self.server.page)
        elif self.server.api is not None and "/resolve/" not in address.path:
            self._give(*self.server.api(address.path))
        elif self.server.answers and "/resolve/" not in address.path:
            self._give(*self.server.answers.pop(0))
        elif address.path == "/api/models":
            wanted = parse_qs(address.query).get("search", [""])[0].lower()
            self._send([{"id": name} for name in self.server.repositories() if wanted in name.lower()])
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/main)?", address.path):
            self._repository(match[1])
        elif match := re.fullmatch(r"/repos/([^/]+/[^/]+)/releases", address.path):
            self._releases(match[1])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", address.path):
            self._file(f"{match[1]}/{match[2]}")
        else:
            self._send({"error": "not found"}, 404)

    def _repository(self, name: str) -> None:
        siblings = [
            {"rfilename": path.removeprefix(f"{name}/"), **self._told_of(content)}
            for path, content in self.server.files.items()
            if path.startswith(f"{name}/")
        ]
        self._send({"id": name, "siblings": siblings} if siblings else {"error": "none"}, 200 if siblings else 404)

    def _told_of(self, content: bytes) -> dict[str, object]:
        if not self.server.lists_sizes:
            return {}
        return _size(content) if self.server.lists_checksums else {"size": len(content)}

    def do_HEAD(self) -> None:
        """How long a file is, and its checksum."""
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", urlsplit(self.path).path)
        content = self.server.files.get(f"{match[1]}/{match[2]}") if match else None
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def _releases(self, repository: str) -> None:
        releases = [
            {"tag_name": tag, "draft": False, "assets": [self.server.asset(repository, name) for name in names]}
            for tag, names in self.server.releases.get(repository, {}).items()
        ]
        self._send(releases)

    def _file(self, name: str) -> None:
        if self.server.leads_to:
            self.send_response(302)
            self.send_header("Location", self.server.leads_to + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.refusals:
            self._send({"error": "no"}, self.server.refusals.pop(0))
            return
        content = self.server.files[name]
        if self.server.wrong_content:
            content = bytes(len(content))
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and self.server.knows_ranges else 0
        self.server.ranges.append(start)
        rest = content[start:]
        self.send_response(206 if start else 200)
        if self.server.chunks is not None:
            self._send_chunks(rest, self.server.chunks)
            return
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.hold_at is not None:
            self.wfile.write(rest[: self.server.hold_at])
            self.server.go_on.wait(20)
            rest = rest[self.server.hold_at :]
        stop = self.server.breaks.pop(0) if self.server.breaks else len(rest)
        self.wfile.write(rest[:stop])
        self.close_connection = stop < len(rest)

    def _send_chunks(self, rest: bytes, size: int) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        end = len(rest) if self.server.short is None else self.server.short
        for at in range(0, end, size):
            piece = rest[at : min(at + size, end)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, document: object, status: int = 200) -> None:
        self._give(status, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _give(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
