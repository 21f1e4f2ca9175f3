from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from launchdeck.settings import qt_binding
qt_binding.choose_pyside6()
qt_binding.choose_pyside6()
print(os.environ.get("QT_API"), os.environ.get("PYQTGRAPH_QT_LIB"), os.environ.get("QT_SCALE_FACTOR"))
print(sorted(qt_binding.others_choice().items()))
import PySide6.QtWidgets, qasync, pyqtgraph
print(qasync.QtModuleName, pyqtgraph.Qt.QT_LIB)
"""


@pytest.mark.parametrize(
    ("changes", "here", "engines"),
    [
        ({}, "None None 2", "[]"),
        ({"QT_API": "pyqt5"}, "pyside6 None 2", "[('QT_API', 'pyqt5')]"),
        ({"QT_API": "pyside6"}, "pyside6 None 2", "[]"),
        (
            {"QT_API": "", "PYQTGRAPH_QT_LIB": "PyQt5"},
            "pyside6 PySide6 2",
            "[('PYQTGRAPH_QT_LIB', 'PyQt5'), ('QT_API', '')]",
        ),
    ],
)
def test_what_another_program_wants_is_for_the_engines_alone(changes, here, engines):
    without = {name: value for name, value in os.environ.items() if name not in {"QT_API", "PYQTGRAPH_QT_LIB"}}
    environment = {**without, "QT_SCALE_FACTOR": "2", **changes}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [here, engines, "PySide6 PySide6"], done.stderr
