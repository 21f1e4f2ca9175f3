"""How soon a library of ten thousand models is listed, and how long the list holds up the window's thread."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from PySide6.QtWidgets import QApplication

from fakes.gguf_models import llama
from launchdeck.models.library import FIRST_LIST_S, by_name
from launchdeck.models.scan import Scanner
from launchdeck.ui.library.library_dialog import LibraryDialog

MODEL_COUNT = 10_000
A_FOLDER = 50


def main() -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder)
        scanner = Scanner()
        models = []
        started_s = time.perf_counter()
        first = None
        for model in scanner.scan([folder]):
            models.append(model)
            if first is None and time.perf_counter() - started_s > FIRST_LIST_S:
                by_name(models)
                first = len(models), time.perf_counter() - started_s
        print(f"first list: {first[0]} models after {first[1]:.2f} s (budget 1 s)")
        print(f"all {len(models)} models: {time.perf_counter() - started_s:.2f} s")
        print(f"looking again: {timed(lambda: list(scanner.scan([folder]))):.2f} s")
        print(f"whether anything changed: {1000 * timed(scanner.has_changed):.1f} ms")
        show(by_name(models))


def fill(folder: Path) -> None:
    content = llama().write(folder / "first.gguf").read_bytes()
    for number in range(1, MODEL_COUNT):
        place = folder / f"{number // A_FOLDER}"
        place.mkdir(exist_ok=True)
        (place / f"model-{number}.gguf").write_bytes(content)


def show(models) -> None:
    app = QApplication([])
    dialog = LibraryDialog()
    dialog.show()
    app.processEvents()

    def list_them() -> None:
        dialog.set_models(models)
        app.processEvents()

    def search() -> None:
        dialog.search.setText("99")
        app.processEvents()

    print(f"window held up by the list: {1000 * timed(list_them):.0f} ms, by a search: {1000 * timed(search):.0f} ms")


def timed(work) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


if __name__ == "__main__":
    main()
