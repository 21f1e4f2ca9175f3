"""Every setting, declared once: its type, its default, its limits and what it means."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from launchdeck.domain.text import Message

LANGUAGES: Final = ("auto", "en", "ko")
THEMES: Final = ("auto", "dark", "light")


class Section(Enum):
    """Where a setting is looked for."""

    GENERAL = Message("General")
    GPUS = Message("GPUs")
    ENGINES = Message("Models and engines")
    SERVING = Message("Serving")
    HTTP = Message("HTTP interface")


class Effect(Enum):
    """When a change is felt. At once: also by what runs already, as far as it concerns what is watching it."""

    AT_ONCE = Message("Takes effect at once")
    NEXT_MODEL = Message("Takes effect for models started from then on")
    NEXT_START = Message("Takes effect at the next start of Launchdeck")


def _setting(
    section: Section,
    effect: Effect,
    default: Any,
    meaning: Message,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field whose limits the store checks and whose meaning the written file explains."""
    metadata = {"section": section, "effect": effect, "meaning": meaning, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user can set. Immutable: a change is a new Settings."""

    language: str = _setting(Section.GENERAL, Effect.NEXT_START, "auto", Message("Language"), choices=LANGUAGES)
    theme: str = _setting(Section.GENERAL, Effect.AT_ONCE, "auto", Message("Theme"), choices=THEMES)
    sampling_interval_s: float = _setting(
        Section.GPUS, Effect.AT_ONCE, 5.0, Message("Seconds between two readings of the GPUs"), low=1, high=60
    )
    detection: str = _setting(
        Section.GPUS,
        Effect.AT_ONCE,
        "merged",
        Message("All vendors in one list, or the first that answers"),
        choices=("merged", "first"),
    )
    model_folders: tuple[str, ...] = _setting(
        Section.ENGINES, Effect.AT_ONCE, (), Message("Folders in which models are looked for, with their subfolders")
    )
    llama_server_path: str = _setting(
        Section.ENGINES, Effect.NEXT_MODEL, "", Message("The llama-server to use; empty: the first on PATH")
    )
    vllm_path: str = _setting(
        Section.ENGINES,
        Effect.NEXT_MODEL,
        "",
        Message("The vLLM to use, or its virtual environment; empty: the first on PATH"),
    )
    engine_source_url: str = _setting(
        Section.ENGINES,
        Effect.AT_ONCE,
        "https://api.github.com",
        Message("Engine download source (GitHub API or compatible mirror)"),
    )
    package_index_url: str = _setting(
        Section.ENGINES,
        Effect.AT_ONCE,
        "",
        Message("The index of packages that vLLM is installed from; empty: as pip is set up"),
    )
    rpc_workers: tuple[str, ...] = _setting(
        Section.ENGINES, Effect.AT_ONCE, (), Message("RPC workers of llama.cpp (host:port), offered as devices")
    )
    first_port: int = _setting(
        Section.SERVING, Effect.NEXT_MODEL, 8001, Message("First port given to a model"), low=1024, high=65535
    )
    last_port: int = _setting(
        Section.SERVING, Effect.NEXT_MODEL, 8020, Message("Last port given to a model"), low=1024, high=65535
    )
    model_api_keys: bool = _setting(
        Section.SERVING, Effect.NEXT_MODEL, True, Message("Give every model an API key of its own")
    )
    memory_margin_mib: int = _setting(
        Section.GPUS, Effect.NEXT_MODEL, 256, Message("MiB of GPU memory that 'auto' leaves free"), low=0, high=65536
    )
    stop_grace_s: float = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        5.0,
        Message("Grace period before an engine is killed (s)"),
        low=0,
        high=300,
    )
    stall_timeout_s: float = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        300.0,
        Message("Seconds without any output and any work after which loading has failed"),
        low=1,
        high=7200,
    )
    load_timeout_s: float = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        7200.0,
        Message("Maximum loading time (s)"),
        low=1,
        high=86400,
    )
    restart: str = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        "never",
        Message("Restart failed models"),
        choices=("never", "on failure"),
    )
    restart_pause_s: float = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        1.0,
        Message("Seconds before the first restart; the pauses double after that"),
        low=0.1,
        high=60,
    )
    probe_interval_s: float = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        2.0,
        Message("Seconds between two health checks of a running model"),
        low=0.2,
        high=60,
    )
    question_interval_s: float = _setting(
        Section.SERVING,
        Effect.AT_ONCE,
        0.0,
        Message(
            "Seconds between questions of one token, which show that a model hangs though it says it is well; 0: none"
        ),
        low=0,
        high=3600,
    )
    when_app_dies: str = _setting(
        Section.GENERAL,
        Effect.AT_ONCE,
        "keep",
        Message("If Launchdeck crashes, running models"),
        choices=("keep", "stop"),
    )
    on_quit: str = _setting(
        Section.GENERAL,
        Effect.AT_ONCE,
        "ask",
        Message("When I quit, running models"),
        choices=("ask", "keep", "stop"),
    )
    vram_alert_percent: int = _setting(
        Section.GPUS,
        Effect.AT_ONCE,
        95,
        Message("Warn when GPU memory use exceeds (%, 0 = never)"),
        low=0,
        high=100,
    )
    temperature_alert_c: int = _setting(
        Section.GPUS,
        Effect.AT_ONCE,
        90,
        Message("Warn when a GPU reaches (°C, 0 = never)"),
        low=0,
        high=120,
    )
    api_enabled: bool = _setting(
        Section.HTTP, Effect.AT_ONCE, True, Message("Let programs on this machine use Launchdeck over HTTP")
    )
    api_port: int = _setting(
        Section.HTTP,
        Effect.AT_ONCE,
        8700,
        Message("Port of the HTTP interface; 0: any that is free"),
        low=0,
        high=65535,
    )
    log_limit_mib: int = _setting(
        Section.SERVING, Effect.NEXT_MODEL, 32, Message("MiB of log kept on disk for a model"), low=1, high=4096
    )

    @property
    def ports(self) -> range:
        """The ports models get, in the order they are given out."""
        return range(self.first_port, self.last_port + 1)
