"""The variables by which programs choose their Qt binding. In here there is one: what another program wants with them
is nothing for us, and everything for the engines, which are started in the environment that Launchdeck was.
"""

from __future__ import annotations

import os
from typing import Final

_OURS: Final = {"QT_API": "pyside6", "PYQTGRAPH_QT_LIB": "PySide6"}
_before: dict[str, str] = {}


def choose_pyside6() -> None:
    """Have qasync and pyqtgraph use PySide6; before either is imported."""
    others = {name: value for name in _OURS if (value := os.environ.get(name)) not in {None, _OURS[name]}}
    _before.update(others)
    os.environ.update({name: _OURS[name] for name in others})


def others_choice() -> dict[str, str]:
    """Give the variables as they were, where another program's choice was taken away."""
    return dict(_before)
