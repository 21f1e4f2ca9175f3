"""The releases of a project, from GitHub's API or a mirror that speaks like it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.models.download import NamedFile, RemoteFile

_TIMEOUT_S = 20.0
_NAME = re.compile(r"\w[\w.+-]*")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LIMITED = frozenset({403, 429})


@dataclass(frozen=True, slots=True)
class Release:
    """`files` are those that can be checked: with a size and a SHA-256."""

    tag: str
    files: tuple[NamedFile, ...]


async def fetch_releases(source_url: str, repository: str, count: int) -> tuple[Release, ...]:
    """The newest releases of OWNER/NAME, the newest first.

    Raises:
        LaunchdeckError: the source does not answer, or not with releases.
    """
    import httpx  # noqa: PLC0415 (it takes a while, and few starts need it)

    url = f"{source_url.rstrip('/')}/repos/{repository}/releases"
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True) as session:
            answer = await session.get(url, params={"per_page": count}, headers={"Accept": "application/json"})
        answer.raise_for_status()
        return parse_releases(answer.json())
    except httpx.HTTPStatusError as error:
        raise _no_answer(url, f"status {error.response.status_code}", error.response.status_code) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _no_answer(url, type(error).__name__) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _no_answer(url, "no JSON") from error


def parse_releases(document: Any) -> tuple[Release, ...]:
    """What of this answer is a release and can be used: no drafts, no files without a checksum."""
    entries = document if isinstance(document, list) else []
    return tuple(
        Release(entry["tag_name"], tuple(file for file in map(_file, _list(entry.get("assets"))) if file))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("tag_name"), str)
        if not entry.get("draft") and not entry.get("prerelease")
    )


def _file(asset: Any) -> NamedFile | None:
    if not isinstance(asset, dict) or asset.get("state", "uploaded") != "uploaded":
        return None
    name, url, size = asset.get("name"), asset.get("browser_download_url"), asset.get("size")
    digest = _DIGEST.fullmatch(str(asset.get("digest")))
    if not (isinstance(name, str) and _NAME.fullmatch(name) and digest and type(size) is int and size > 0):
        return None
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        return None
    return NamedFile(name, RemoteFile(url, size, digest[1]))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _no_answer(url: str, reason: str, status: int | None = None) -> LaunchdeckError:
    later = Message("It answers only so often in an hour: try again later, or name a mirror in the settings.")
    network = Message("Check the network and the source of engines in the settings.")
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The source of engines {url} does not answer ({reason}).", url=url, reason=reason),
        later if status in _LIMITED else network,
    )
