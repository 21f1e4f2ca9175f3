"""A model for programs: what `launchdeck models --json` prints and the API sends."""

from __future__ import annotations

from typing import Any

from launchdeck.domain.model import ModelInfo


def to_document(model: ModelInfo) -> dict[str, Any]:
    """One entry of `models --json`."""
    return {
        "path": str(model.path),
        "name": model.name,
        "format": str(model.format),
        "architecture": model.architecture,
        "size_bytes": model.size_bytes,
        "block_count": model.block_count,
        "context_length": model.context_length,
        "quantisation": model.quantisation,
        "server_types": [str(server_type) for server_type in model.server_types],
        "problem": None if model.problem is None else str(model.problem),
    }
