from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.hub import FakeHub


@pytest.fixture
def server() -> Iterator[FakeHub]:
    """A server on the loopback that has one small file."""
    server = FakeHub()
    server.files = {"them/Tiny-GGUF/tiny.gguf": b"tiny"}
    yield server
    server.shutdown()
    server.server_close()
