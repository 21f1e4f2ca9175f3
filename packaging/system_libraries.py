"""Which system libraries Qt and the embedded engine need on Linux, and which packages bring them.

Python wheels carry no libc, no OpenGL loader and no X11 libraries. Where one is missing Qt aborts with a message that
names only the first, so the dynamic loader is asked for all of them before anything is started or even downloaded.
"""

import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Library(NamedTuple):
    """A shared library and the package that brings it, by package manager."""

    soname: str
    apt: str
    dnf: str
    pacman: str
    zypper: str


# What QtCore, QtGui, QtWidgets, QtNetwork and QtSvg load on any platform plugin, and the embedded engine.
COMMON = (
    Library("libEGL.so.1", "libegl1", "libglvnd-egl", "libglvnd", "libglvnd"),
    Library("libGL.so.1", "libgl1", "libglvnd-glx", "libglvnd", "libglvnd"),
    Library("libX11.so.6", "libx11-6", "libX11", "libx11", "libX11-6"),
    Library("libbrotlidec.so.1", "libbrotli1", "libbrotli", "brotli", "libbrotlidec1"),
    Library("libbrotlicommon.so.1", "libbrotli1", "libbrotli", "brotli", "libbrotlicommon1"),
    Library("libdbus-1.so.3", "libdbus-1-3", "dbus-libs", "dbus", "libdbus-1-3"),
    Library("libfontconfig.so.1", "libfontconfig1", "fontconfig", "fontconfig", "fontconfig"),
    Library("libfreetype.so.6", "libfreetype6", "freetype", "freetype2", "libfreetype6"),
    Library("libgcc_s.so.1", "libgcc-s1", "libgcc", "gcc-libs", "libgcc_s1"),
    Library("libglib-2.0.so.0", "libglib2.0-0", "glib2", "glib2", "libglib-2_0-0"),
    Library("libgthread-2.0.so.0", "libglib2.0-0", "glib2", "glib2", "libgthread-2_0-0"),
    Library("libgomp.so.1", "libgomp1", "libgomp", "gcc-libs", "libgomp1"),
    Library("libgssapi_krb5.so.2", "libgssapi-krb5-2", "krb5-libs", "krb5", "krb5"),
    Library("libstdc++.so.6", "libstdc++6", "libstdc++", "gcc-libs", "libstdc++6"),
    Library("libxkbcommon.so.0", "libxkbcommon0", "libxkbcommon", "libxkbcommon", "libxkbcommon0"),
    Library("libz.so.1", "zlib1g", "zlib", "zlib", "libz1"),
    Library("libzstd.so.1", "libzstd1", "libzstd", "zstd", "libzstd1"),
)
X11 = (
    Library("libX11-xcb.so.1", "libx11-xcb1", "libX11-xcb", "libx11", "libX11-xcb1"),
    Library("libxcb.so.1", "libxcb1", "libxcb", "libxcb", "libxcb1"),
    Library("libxcb-cursor.so.0", "libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor", "libxcb-cursor0"),
    Library("libxcb-icccm.so.4", "libxcb-icccm4", "xcb-util-wm", "xcb-util-wm", "libxcb-icccm4"),
    Library("libxcb-image.so.0", "libxcb-image0", "xcb-util-image", "xcb-util-image", "libxcb-image0"),
    Library("libxcb-keysyms.so.1", "libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms", "libxcb-keysyms1"),
    Library("libxcb-randr.so.0", "libxcb-randr0", "libxcb", "libxcb", "libxcb-randr0"),
    Library("libxcb-render.so.0", "libxcb-render0", "libxcb", "libxcb", "libxcb-render0"),
    Library(
        "libxcb-render-util.so.0",
        "libxcb-render-util0",
        "xcb-util-renderutil",
        "xcb-util-renderutil",
        "libxcb-render-util0",
    ),
    Library("libxcb-shape.so.0", "libxcb-shape0", "libxcb", "libxcb", "libxcb-shape0"),
    Library("libxcb-shm.so.0", "libxcb-shm0", "libxcb", "libxcb", "libxcb-shm0"),
    Library("libxcb-sync.so.1", "libxcb-sync1", "libxcb", "libxcb", "libxcb-sync1"),
    Library("libxcb-util.so.1", "libxcb-util1", "xcb-util", "xcb-util", "libxcb-util1"),
    Library("libxcb-xfixes.so.0", "libxcb-xfixes0", "libxcb", "libxcb", "libxcb-xfixes0"),
    Library("libxcb-xkb.so.1", "libxcb-xkb1", "libxcb", "libxcb", "libxcb-xkb1"),
    Library(
        "libxkbcommon-x11.so.0",
        "libxkbcommon-x11-0",
        "libxkbcommon-x11",
        "libxkbcommon-x11",
        "libxkbcommon-x11-0",
    ),
)
WAYLAND = (
    Library("libwayland-client.so.0", "libwayland-client0", "libwayland-client", "wayland", "libwayland-client0"),
    Library("libwayland-cursor.so.0", "libwayland-cursor0", "libwayland-cursor", "wayland", "libwayland-cursor0"),
)

INSTALL_COMMANDS = {
    "apt": "apt-get install -y",
    "dnf": "dnf install -y",
    "pacman": "pacman -S --needed",
    "zypper": "zypper install -y",
}
DISTRIBUTIONS = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
}

_LOAD_EACH = """
import ctypes, sys
for soname in sys.argv[1:]:
    try:
        ctypes.CDLL(soname)
    except OSError:
        print(soname)
"""


def needed(environment: Mapping[str, str]) -> tuple[Library, ...]:
    """Return what has to be there for the display server that `environment` names, or for none."""
    if environment.get("DISPLAY"):
        return COMMON + X11
    if environment.get("WAYLAND_DISPLAY"):
        return COMMON + WAYLAND
    return COMMON


def missing(libraries: Iterable[Library]) -> list[Library]:
    """Return those that the dynamic loader does not find; asked in a process of its own, which they cannot disturb."""
    by_soname = {library.soname: library for library in libraries}
    command = [sys.executable, "-I", "-S", "-c", _LOAD_EACH, *by_soname]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [by_soname[soname] for soname in output.split()]


def package_manager(os_release: Mapping[str, str]) -> str | None:
    """Return the key of `INSTALL_COMMANDS` for the distribution, None for one that is not known."""
    names = [os_release.get("ID", ""), *os_release.get("ID_LIKE", "").split()]
    return next((DISTRIBUTIONS[name] for name in names if name in DISTRIBUTIONS), None)


def this_package_manager() -> str | None:
    """Return `package_manager` for this machine."""
    try:
        return package_manager(platform.freedesktop_os_release())
    except OSError:
        return None


def packages(libraries: Iterable[Library], manager: str) -> list[str]:
    """Return the packages that bring `libraries`, each once, sorted."""
    return sorted({getattr(library, manager) for library in libraries})


def venv_packages(manager: str | None) -> list[str]:
    """Return what Python's own venv module lacks: Debian keeps ensurepip in a package apart."""
    if manager == "apt" and importlib.util.find_spec("ensurepip") is None:
        return [f"python3.{sys.version_info.minor}-venv"]
    return []


def install_command(names: Iterable[str], manager: str) -> str:
    """Return the line that installs the packages `names`, ready to be pasted."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}{INSTALL_COMMANDS[manager]} {' '.join(names)}"
