"""What llama-server's log and its progress lines tell of a start: how far it is, and what it really applied."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from launchdeck.domain.deployment import Applied, Buffer, PlacedDevice
from launchdeck.domain.units import MIB
from launchdeck.engines.adapter import CONTEXT, READY, WARMUP, WEIGHTS, Findings
from launchdeck.engines.devices.listing import bus_place

logger = logging.getLogger(__name__)

# The server counts the weights alone; creating the context and the warm-up run come after them.
WEIGHTS_SHARE = 0.9
_KINDS = {"model": "weights", "KV": "kv", "RS": "kv", "compute": "compute"}
_PROGRESS = "cmd_child_to_router:state:"

_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers")
_BUFFER = re.compile(r"(\S+) +(model|KV|RS|compute) buffer size = +([\d.]+) MiB")
# What makes the context was called otherwise in older builds, which also tell a slot's part in a line of its own.
_CONTEXT = re.compile(r"llama_(?:context|init_from_model|new_context_with_model): n_ctx += (\d+)")
_SLOTS = re.compile(r"n_slots = (\d+)(?:, n_ctx_slot = (\d+))?")
_SLOT = re.compile(r"new slot,? n_ctx(?:_slot)? = (\d+)")
_FLASH = re.compile(r"(?:Flash Attention (?:was auto, set to )?|flash_attn += )(enabled|disabled)")
_CACHE_TYPES = re.compile(r"K \((\w+)\): +[\d.]+ MiB, V \((\w+)\): ")
_DEVICE = re.compile(r"using device (\S+) \((.+)\) - (\d+) MiB free")
_AT = re.compile(r"(?P<text>.*)\) \((?P<address>[^()]*)")


def read_log_line(findings: Findings, line: str) -> Findings:
    """What is known after this line; the same object if the line says nothing.

    A needle is looked for before any pattern is: nearly all lines of a running server say nothing here.
    """
    for needle, read in _READERS:
        if needle in line:
            return read(findings, line)
    return findings


def _read_progress(findings: Findings, line: str) -> Findings:
    """`{"state": "loading", "payload": {"stages": [...], "current": "text_model", "value": 0.5}}`, later "ready"."""
    try:
        report = json.loads(line.partition(_PROGRESS)[2])
        if report["state"] == "ready":
            return replace(findings, progress=1.0, stage=READY)
        return replace(findings, progress=_share(report["payload"]), stage=WEIGHTS)
    except (ValueError, KeyError, TypeError):
        logger.debug("a progress line of llama-server could not be read: %s", line)
        return findings


def _share(payload: dict[str, Any]) -> float:
    stages = payload["stages"]
    done: float = (stages.index(payload["current"]) + float(payload["value"])) / len(stages)
    return WEIGHTS_SHARE * min(max(done, 0.0), 1.0)


def _stage(name: str, progress: float | None = None) -> Callable[[Findings, str], Findings]:
    """A line that begins a stage. Without progress lines there is no number before the end, only stages."""

    def read(findings: Findings, _line: str) -> Findings:
        if findings.stage == READY:
            return findings
        known = findings.progress if findings.progress is None else max(findings.progress, progress or 0.0)
        return replace(findings, stage=name, progress=1.0 if name == READY else known)

    return read


def _read_offloaded(findings: Findings, line: str) -> Findings:
    if match := _OFFLOADED.search(line):
        return _applied(findings, layers_offloaded=int(match[1]), layers_total=int(match[2]))
    return findings


def _read_buffer(findings: Findings, line: str) -> Findings:
    match = _BUFFER.search(line)
    if not match:
        return findings  # "output buffer size", which no estimate counts
    buffer = Buffer(match[1], _KINDS[match[2]], round(float(match[3]) * MIB))
    kept = findings.applied.buffers
    if buffer.kind == "compute":  # reserved again, not besides: the last one counts
        kept = tuple(old for old in kept if (old.device, old.kind) != (buffer.device, buffer.kind))
    return _applied(findings, buffers=(*kept, buffer))


def _read_context(findings: Findings, line: str) -> Findings:
    match = _CONTEXT.search(line)
    return _applied(findings, n_ctx=int(match[1])) if match else findings


def _read_slots(findings: Findings, line: str) -> Findings:
    match = _SLOTS.search(line)
    if match is None:
        return findings
    return _applied(findings, n_slots=int(match[1]), **({"n_ctx_slot": int(match[2])} if match[2] else {}))


def _read_slot(findings: Findings, line: str) -> Findings:
    match = _SLOT.search(line)
    return _applied(findings, n_ctx_slot=int(match[1])) if match else findings


def _read_flash(findings: Findings, line: str) -> Findings:
    match = _FLASH.search(line)
    return _applied(findings, flash_attention=match[1] == "enabled") if match else findings


def _read_cache_types(findings: Findings, line: str) -> Findings:
    match = _CACHE_TYPES.search(line)
    return _applied(findings, cache_types=(match[1], match[2])) if match else findings


def _read_device(findings: Findings, line: str) -> Findings:
    match = _DEVICE.search(line)
    if match is None:
        return findings
    name, told, free = match[1], match[2], int(match[3]) * MIB
    at = _AT.fullmatch(told)  # older builds do not say where it sits, others that they do not know
    text, address = (at["text"], at["address"]) if at else (told, None)
    device = PlacedDevice(name, text, address if bus_place(address) else None, free)
    kept = findings.applied
    return _applied(findings, devices=(*kept.devices, name), placed=(*kept.placed, device))


def _applied(findings: Findings, **changes: Any) -> Findings:
    applied: Applied = replace(findings.applied, **changes)
    return replace(findings, applied=applied)


_READERS: tuple[tuple[str, Callable[[Findings, str], Findings]], ...] = (
    (_PROGRESS, _read_progress),
    (" buffer size = ", _read_buffer),
    ("offloaded ", _read_offloaded),
    ("using device ", _read_device),
    (": n_ctx ", _read_context),
    ("n_slots = ", _read_slots),
    (" new slot", _read_slot),
    ("llama_kv_cache: size = ", _read_cache_types),
    ("Flash Attention ", _read_flash),
    ("flash_attn ", _read_flash),
    ("loading model tensors", _stage(WEIGHTS)),
    ("constructing llama_context", _stage(CONTEXT, WEIGHTS_SHARE)),
    ("warming up the model", _stage(WARMUP, 0.95)),
    ("listening on http", _stage(READY)),
)
