"""Rooms import one way, and only the rooms marked for it know Qt."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
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

# Each part of a room, and the modules that others may import of it: its door. Whatever else lies there is its own.
DOORS: dict[str, set[str]] = {
    "engines/devices": {
        "device_orders", "devices", "listing", "masking", "placed", "shared_ram", "targets", "vulkan_mask",
    },
    "engines/getting": {"fetched", "getting", "offers"},
    "engines/llama": {
        "accounting", "argv", "capabilities", "checks", "embedded", "engine", "extra_args", "find", "options",
        "prompt_cache", "rope_scaling",
    },
    "engines/vllm": {"engine", "find", "rules"},
    "hardware/amd": {"detector", "sysfs"},
    "hardware/nvidia": {"detector"},
    "hardware/torch": {"cuda", "rocm"},
    "models/architectures": {"table", "traits"},
    "models/gguf": {"ggml", "gguf", "header", "tiny_llama"},
    "models/safetensors": {"describe", "safetensors", "safetensors_file"},
    "planning/llama": {"compute", "estimate", "fit", "fused_attention"},
    "planning/llama/replay": {"blocks", "graph", "rehearsals"},
    "planning/llama/replay/layers": {
        "delta_net", "distance_bias", "feed_forward", "recurrent", "short_convolution", "whole_layer",
    },
    "planning/vllm": {"memory"},
    "serving/health": {"health_watch"},
    "serving/records": {"codec", "first_version", "healing", "recall", "records", "unstarted"},
    "serving/requests": {"request_file", "request_memory", "start_list", "starting"},
    "serving/shim": {"connection", "log", "mark", "processes", "record"},
    "ui/charts": {"chart_export", "charts"},
    "ui/deploy": {"anyway_dialog", "deploy_form"},
    "ui/deployments": {"deployments_view", "details", "log_view", "try_it"},
    "ui/engines": {"engines_desk"},
    "ui/gpus": {"alert_text", "detection_dialog", "gpu_cards"},
    "ui/library": {"library_desk"},
    "ui/window": {"main_window", "quitting", "settings_dialog", "tray", "window_api", "window_memory"},
}  # fmt: skip
WITHOUT_A_DOOR = {"ui/kit"}  # all of it is for the others
MOST_MODULES = 25


def sources() -> Iterator[Path]:
    return PACKAGE.rglob("*.py")


def imported(path: Path, *, also_for_types: bool = False) -> Iterator[str]:
    """Modules a file imports when it runs; what stands under TYPE_CHECKING is for the type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    checking = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in checking and not also_for_types:
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


def test_a_part_is_entered_by_its_door() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sources()
        for name in imported(path, also_for_types=True)
        if (part := part_of(name)) and path.relative_to(PACKAGE).parent.as_posix() not in inside(part)
        and name.split(".")[len(part.split("/")) + 1] not in DOORS[part]
    ]  # fmt: skip
    assert not wrong


def test_every_part_has_a_door_that_somebody_uses() -> None:
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in sources()}
    assert {folder for folder in folders if "/" in folder} - WITHOUT_A_DOOR == set(DOORS)
    used = {
        (part, name.split(".")[len(part.split("/")) + 1])
        for path in sources()
        for name in imported(path, also_for_types=True)
        if (part := part_of(name)) and path.relative_to(PACKAGE).parent.as_posix() not in inside(part)
    }
    assert {(part, module) for part, modules in DOORS.items() for module in modules} - used == set()


def test_no_folder_has_more_modules_than_a_reader_takes_in() -> None:
    folders = Counter(path.parent.relative_to(PACKAGE).as_posix() for path in sources() if path.name != "__init__.py")
    assert {folder: count for folder, count in folders.items() if count > MOST_MODULES} == {}


def test_no_two_modules_import_each_other_on_any_way() -> None:
    modules = {".".join(path.relative_to(APP).with_suffix("").parts): path for path in sources()}
    graph = {
        module: {name for whole in imported(path, also_for_types=True) for name in (whole, whole.rpartition(".")[0])}
        & modules.keys() - {module}
        for module, path in modules.items()
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def part_of(name: str) -> str | None:
    """The deepest part that an imported name lies in; None: no part with a door."""
    folders = name.removeprefix("launchdeck.").split(".")
    paths = ("/".join(folders[:depth]) for depth in range(len(folders) - 1, 1, -1))
    return next((path for path in paths if path in DOORS and name.startswith("launchdeck.")), None)


def inside(part: str) -> set[str]:
    """The folders that are at home in a part: its own and those below."""
    return {folder for folder in (*DOORS, *WITHOUT_A_DOOR) if folder == part or folder.startswith(f"{part}/")}


def test_every_room_has_its_place() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()}
    assert rooms - FREE == set(LAYERS)


def test_one_place_decides_how_anything_is_asked_of_the_outside() -> None:
    """What asks something on this machine has its own clients, which go through no proxy."""
    on_this_machine = {"serving/client.py", "api/client.py", "serving/health/health.py"}
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
