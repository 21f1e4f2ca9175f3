"""Where the files beside the code lie: icons, fonts, translations, the style sheet."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_resources"
_CHECKOUT = _PACKAGE.parent.parent / "resources"


def resource(name: str) -> Path:
    """The path of `name` ("icons/gear.svg") in an installed package or in a checkout; it need not exist."""
    return (_INSTALLED if _INSTALLED.is_dir() else _CHECKOUT) / name
