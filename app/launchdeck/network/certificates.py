"""Whose certificates are trusted: those of the system and of certifi, or what the environment names instead."""

from __future__ import annotations

import os
import re
import ssl
from functools import cache
from pathlib import Path

from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.domain.text import Message
from launchdeck.files.reading import open_regular

# In the order in which they count. The last two are those of requests (and pip) and of curl: whoever sits behind a
# network that looks into what is encrypted has often set one of these alone.
_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_KEY_LOG = "SSLKEYLOGFILE"
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.r?\d+", re.IGNORECASE)


def trust() -> ssl.SSLContext:
    """What connections to the outside are checked against. Reads files: belongs into a worker thread.

    Raises:
        LaunchdeckError: the environment names a file or folder for it that cannot be used.
    """
    _check_key_log()
    variable = next((name for name in _VARIABLES if os.environ.get(name)), None)
    return _usual() if variable is None else _named(variable, os.environ[variable])


@cache
def _usual() -> ssl.SSLContext:
    """Takes a tenth of a second: some hundred certificates are read."""
    import httpx  # noqa: PLC0415 (it takes a while, and few starts need it)

    context = httpx.create_ssl_context(trust_env=False)  # certifi's
    context.load_default_certs()
    return context


def _named(variable: str, value: str) -> ssl.SSLContext:
    """A file with certificates, or folders in the way of OpenSSL. Raises LaunchdeckError."""
    folders = [part for part in value.split(os.pathsep) if os.path.isdir(part)]  # noqa: PTH112 (raises nothing)
    try:
        if folders:
            if not any(_HASHED_NAME.fullmatch(name) for folder in folders for name in os.listdir(folder)):  # noqa: PTH208
                raise _unusable(variable, value, Message("no file in it has a name as 'openssl rehash' gives it"))
            return ssl.create_default_context(capath=os.pathsep.join(folders))
        with open_regular(value):
            return ssl.create_default_context(cafile=value)
    except ssl.SSLError as error:
        raise _unusable(variable, value, Message("it holds no certificate")) from error
    except FileNotFoundError as error:
        raise _unusable(variable, value, Message("it is not there")) from error
    except (OSError, ValueError) as error:
        raise _unusable(variable, value, getattr(error, "strerror", None) or str(error)) from error


def _check_key_log() -> None:
    """Python's ssl opens that file for every context that it makes."""
    name = os.environ.get(_KEY_LOG)
    if name:
        try:
            with Path(name).open("a"):
                pass
        except (OSError, ValueError) as error:
            raise _unusable(_KEY_LOG, name, getattr(error, "strerror", None) or str(error)) from error


def _unusable(variable: str, path: str, reason: Message | str) -> LaunchdeckError:
    return LaunchdeckError.of(
        Cause.BAD_REQUEST,
        Message("{name} names {path}, which cannot be used: {reason}.", name=variable, path=path, reason=reason),
        Message("Correct the variable or remove it, then start Launchdeck again."),
    )
