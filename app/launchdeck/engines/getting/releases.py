"""The releases of a project, from GitHub's API or a mirror that speaks like it."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.models.hub_answers import sha256_of, size_of
from launchdeck.network.addresses import is_address
from launchdeck.network.failures import host_of, unreadable
from launchdeck.network.remote_file import NamedFile, RemoteFile

logger = logging.getLogger(__name__)

# Both become names of files and folders.
_NAME = re.compile(r"\w[\w.+-]{0,199}", re.ASCII)
_TAG = re.compile(r"\w[\w.+-]{0,99}", re.ASCII)
_LIMITED = frozenset({403, 429})


@dataclass(frozen=True, slots=True)
class Release:
    """`files` are those that can be checked: with a size and a SHA-256."""

    tag: str
    files: tuple[NamedFile, ...]


def fetch_releases(source_url: str, repository: str, count: int) -> tuple[Release, ...]:
    """The newest releases of OWNER/NAME, the newest first. Blocking: belongs into a background thread.

    Raises:
        LaunchdeckError: the source does not answer, or not with releases.
    """
    from launchdeck.network.session import ask  # noqa: PLC0415 (httpx takes a while, and few starts need it)

    url = f"{source_url.rstrip('/')}/repos/{repository}/releases"
    if not is_address(url):
        raise LaunchdeckError.of(
            Cause.BAD_REQUEST,
            Message("The source of engines {url} is no address.", url=source_url[:200]),
            Message("Correct it in the settings."),
        )
    answer = ask(url, params={"per_page": count}, headers={"Accept": "application/json"})
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise _refused(url, answer.status)
    return parse_releases(answer.document(), host_of(url))


def parse_releases(document: Any, host: str) -> tuple[Release, ...]:
    """What of this answer is a release and can be used: no drafts, no files without a checksum.

    What is not as it should be is left out, and the log says so.

    Raises:
        LaunchdeckError: this is no list of releases.
    """
    if not isinstance(document, list):
        raise unreadable(host, Message("it is no list of releases"))
    bad = 0
    releases = []
    for entry in document:
        tag = entry.get("tag_name") if isinstance(entry, dict) else None
        if not isinstance(tag, str) or not _TAG.fullmatch(tag):
            bad += 1
        elif not entry.get("draft") and not entry.get("prerelease"):
            assets = entry.get("assets") if isinstance(entry.get("assets"), list) else []
            files = [file for file in map(_file, assets) if file]
            bad += len(assets) - len(files)
            releases.append(Release(tag, tuple({file.name: file for file in reversed(files)}.values())[::-1]))
    if bad:
        logger.info("%s listed %s releases and files that cannot be used; they are left out", host, bad)
    return tuple(releases)


def _file(asset: Any) -> NamedFile | None:
    if not isinstance(asset, dict) or asset.get("state", "uploaded") != "uploaded":
        return None
    name, url, size = asset.get("name"), asset.get("browser_download_url"), size_of(asset.get("size"))
    kind, _, digest = str(asset.get("digest")).partition(":")
    sha256 = sha256_of(digest) if kind == "sha256" else None
    if not (isinstance(name, str) and _NAME.fullmatch(name) and sha256 and size):
        return None
    if not isinstance(url, str) or not is_address(url):
        return None
    return NamedFile(name, RemoteFile(url, size, sha256))


def _refused(url: str, status: int) -> LaunchdeckError:
    later = Message("It answers only so often in an hour: try again later, or name a mirror in the settings.")
    network = Message("Check the network and the source of engines in the settings.")
    return LaunchdeckError.of(
        Cause.NOT_FOUND,
        Message("The source of engines {url} does not answer (status {status}).", url=url, status=status),
        later if status in _LIMITED else network,
    )
