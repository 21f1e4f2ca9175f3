"""The library and the downloads with what they lead to: a model in the form, another folder, a file on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal, Slot

from launchdeck.ui.kit.i18n import tr

if TYPE_CHECKING:
    from launchdeck.core import Core
    from launchdeck.domain.gpu import Inventory
    from launchdeck.models import hub
    from launchdeck.ui.deploy.deploy_form import DeployForm
    from launchdeck.ui.discovery import Discovery
    from launchdeck.ui.library.download_dialog import DownloadDialog
    from launchdeck.ui.library.model_getting import ModelGetting
    from launchdeck.ui.window.main_window import MainWindow


class LibraryDesk(QObject):
    """A download goes on when its dialog is closed; the status line tells of it then, and opens it again.

    `machine_changed` carries an Inventory whenever another one can have changed where models have room.
    """

    machine_changed = Signal(object)

    def __init__(self, window: MainWindow, core: Core, discovery: Discovery, form: DeployForm) -> None:
        super().__init__(window)
        self._window = window
        self._core = core
        self._discovery = discovery
        self._form = form
        self._getting: ModelGetting | None = None
        self._downloads: DownloadDialog | None = None
        self._machine: tuple[tuple[str, int | None], ...] = ()
        window.status_line.download.clicked.connect(self.open_downloads)

    def close(self) -> None:
        """Pause what is on its way: the next start goes on with it."""
        if self._getting is not None:
            self._getting.pause()

    @Slot(object)
    def show_inventory(self, inventory: Inventory) -> None:
        """A new reading of all devices: dialogs that were opened before the first one learn of it too."""
        devices = (reading.gpu for reading in (*inventory.gpus, inventory.cpu))
        machine = tuple((device.uuid, device.total_memory_bytes) for device in devices)
        if machine != self._machine:
            self._machine = machine
            self.machine_changed.emit(inventory)

    @Slot()
    def open_library(self) -> None:
        """Show all models that were found."""
        from launchdeck.ui.library.library_dialog import LibraryDialog  # noqa: PLC0415 (when it is wanted)

        dialog = LibraryDialog(self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if self._core.planner.inventory is not None:
            dialog.set_inventory(self._core.planner.inventory)
        self.machine_changed.connect(dialog.set_inventory)
        dialog.set_models(self._discovery.models)
        self._discovery.models_found.connect(dialog.set_models)
        dialog.chosen.connect(self._form.choose_model)
        dialog.add_folder_requested.connect(self._form.add_folder_requested)
        dialog.download_requested.connect(self.open_downloads)
        dialog.open()

    @Slot()
    def open_downloads(self) -> None:
        """Show the hub, or the download that is on its way."""
        from launchdeck.ui.library.download_dialog import DownloadDialog  # noqa: PLC0415 (when it is wanted)

        if self._downloads is None:
            self._downloads = DownloadDialog(self._model_getting(), self._core.planner.inventory, self._window)
            self.machine_changed.connect(self._downloads.set_inventory)
        self._downloads.open()

    def _model_getting(self) -> ModelGetting:
        from launchdeck.ui.library.model_getting import ModelGetting  # noqa: PLC0415 (when it is wanted)

        if self._getting is None:
            self._getting = ModelGetting(self._core.setup.paths.data / "models", self)
            self._getting.changed.connect(self._show_progress)
            self._getting.ended.connect(self._tell_end)
        return self._getting

    @Slot()
    def _show_progress(self) -> None:
        if self._getting is not None:
            self._window.status_line.show_download(self._getting.choice, self._getting.progress)

    @Slot(object, str)
    def _tell_end(self, choice: hub.Choice, error: str) -> None:
        """Where nobody looks at the dialog, which says it too."""
        from launchdeck.ui.library.model_getting import is_there  # noqa: PLC0415 (when it is wanted)

        if self._downloads is None or not self._downloads.isVisible():
            text = error or tr(is_there(choice))
            self._window.notice.show_text(text)
