"""Rooms import one way, and only the rooms marked for it know Qt."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[2] / "app"
PACKAGE = APP / "launchdeck"
QT_FILES = {"compose.py", "monitor/sampler.py", "serving/process.py"}
# what each room may import besides itself; a room further right may use all to its left
LAYERS: dict[str, set[str]] = {"domain": set()}
LAYERS["files"] = {"domain"}
LAYERS |= {room: {"domain", "files"} for room in ("hardware", "models", "network", "settings")}
LAYERS["models"] |= {"network", "settings"}  # settings: the folders in which models are looked for
LAYERS["planning"] = {"domain", "hardware", "models", "settings"}
LAYERS["engines"] = LAYERS["planning"] | {"planning", "files", "network"}
LAYERS["monitor"] = LAYERS["engines"] | {"engines"}
LAYERS["serving"] = LAYERS["engines"] | {"engines"}
LAYERS["api"] = LAYERS["engines"] | {"engines", "monitor", "serving"}
LAYERS["ui"] = LAYERS["api"] | {"api"}
LAYERS["commands"] = LAYERS["ui"]
FREE = {"compose", "core", "cli", "ending", "workers", "__main__", "__init__", "resources"}


def sources() -> Iterator[Path]:
    return PACKAGE.rglob("*.py")


def imported(path: Path) -> Iterator[str]:
    """Modules a file imports when it runs; what stands under TYPE_CHECKING is for the type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in checking:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", sorted(LAYERS))
def test_a_room_imports_only_what_stands_before_it(room: str) -> None:
    allowed = LAYERS[room] | {room, "resources", "__version__"}
    if room in {"commands", "ui"}:
        allowed |= {"compose", "core", "ending"}
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sources()
        if path.relative_to(PACKAGE).parts[0] == room
        for name in imported(path)
        if name.startswith("launchdeck.") and name.split(".")[1] not in allowed
    ]
    assert not wrong


def test_every_room_has_its_place() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()}
    assert rooms - FREE == set(LAYERS)


def test_one_place_decides_how_anything_is_asked_of_the_outside() -> None:
    """What asks something on this machine has its own clients, which go through no proxy."""
    on_this_machine = {"serving/client.py", "api/client.py", "serving/health.py"}
    clients = re.compile(
        r"\b(httpx2?\.(Async)?Client\(|httpx2?\.(get|post|stream)\(|HfApi|urlopen|HTTPS?Connection\(|create_connection\()"
    )
    found = {
        path.relative_to(PACKAGE).as_posix() for path in sources() if clients.search(path.read_text(encoding="utf-8"))
    }
    assert found - on_this_machine == {"network/session.py"}


def test_everything_but_the_rooms_for_it_imports_without_qt() -> None:
    modules = [
        ".".join(path.relative_to(APP).with_suffix("").parts)
        for path in sources()
        if path.relative_to(PACKAGE).as_posix() not in QT_FILES and path.relative_to(PACKAGE).parts[0] != "ui"
    ]
    assert len(modules) > 40
    # the self test stands on compose.py
    blocked = [name for name in modules if not name.endswith(("__main__", "shim", "selftest", "core"))]
    script = (
        "import sys, importlib\n"
        "for name in ('PySide6', 'shiboken6', 'pyqtgraph', 'qasync'): sys.modules[name] = None\n"
        f"for name in {blocked!r}: importlib.import_module(name)\n"
        "print('ok')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(APP)},
        check=False,
    )
    assert result.stdout.endswith("ok\n"), result.stderr
