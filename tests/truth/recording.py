"""What a build of llama.cpp said, as data: a compressed JSON file for each build, made by `record.py`."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "data" / "truth"
SUMMARY = FOLDER / "summary.json"
HEADER_BYTES = 1 << 20


def question(model: Path, *words: str) -> str:
    """Return the name of a question: what the file of the model is, then what was asked.

    Of a model without data the header is all there is: another recipe is another question, and has no answer yet.
    """
    with model.open("rb") as file:
        header = file.read(HEADER_BYTES)
    assert len(header) < HEADER_BYTES or not header[-64:].strip(b"\0"), f"the header of {model} is too long"
    digest = hashlib.sha256(header + str(model.stat().st_size).encode()).hexdigest()
    return " ".join((digest[:16], *words))


@dataclass
class Recording:
    """Answers by question, and by part of the question: a number of layers as text. None: the engine refused.

    `known` are the differences of the estimate's compute buffers from the engine's, in bytes for each device of those
    that differ. Only a build that the estimate does not follow yet has any.
    """

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    known: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path) -> Recording:
        """Read what is recorded; nothing where there is no file."""
        return cls(**json.loads(gzip.decompress(file.read_bytes()))) if file.exists() else cls()

    def write(self, path: Path) -> None:
        """Write the file: the same bytes for the same content."""
        text = json.dumps({"answers": self.answers, "known": self.known}, sort_keys=True, separators=(",", ":"))
        path.write_bytes(gzip.compress(text.encode(), mtime=0))

    def summary(self) -> dict[str, int]:
        """Count what is there, for people: the file itself cannot be read in a comparison of versions."""
        gpus = [[size for size in sizes[:-1] if size] for parts in self.known.values() for sizes in parts.values()]
        host = [sizes[-1] for parts in self.known.values() for sizes in parts.values() if sizes[-1]]
        return {
            "questions": len(self.answers),
            "answers": sum(map(len, self.answers.values())),
            "answers with a known difference on a GPU": sum(map(bool, gpus)),
            "known differences on GPUs, bytes in all": sum(abs(size) for sizes in gpus for size in sizes),
            "largest known difference on a GPU, bytes": max((abs(size) for sizes in gpus for size in sizes), default=0),
            "answers with a known difference on the host": len(host),
            "known differences on the host, bytes in all": sum(map(abs, host)),
        }


def path_of(build: str, folder: str | Path | None = None) -> Path:
    """Return the file with a build's answers: the project's own, or the one in another folder."""
    return Path(folder or FOLDER) / f"{build}.json.gz"
