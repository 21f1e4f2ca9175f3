"""Which engines can be got for a machine: the builds that fit its system, its GPUs and their drivers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.domain.text import Message
from launchdeck.domain.units import GIB
from launchdeck.engines.getting.releases import Release
from launchdeck.engines.vllm.rules import MIN_COMPUTE_CAPABILITY, ROCM_TARGETS
from launchdeck.hardware.gpu_names import compute_capability, gfx_target
from launchdeck.network.remote_file import NamedFile

LLAMA_CPP = "ggml-org/llama.cpp"
XLLAMACPP = "xorbitsai/xllamacpp"
# Its wheel for one GPU, the libraries of CUDA and PyTorch beside it, and pip's copies while it installs.
VLLM_NEEDS_BYTES = 20 * GIB
# The package cannot be told which GPU to take, but it obeys the masks of the vendors; Vulkan has none.
_MASKED = frozenset({"CUDA", "ROCm"})
_SYSTEMS = {"linux": ("ubuntu", "linux"), "darwin": ("macos",), "win32": ("win",)}
_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_ARCHIVE = re.compile(
    r"llama-(?P<build>b\d+)-bin-(?P<system>[a-z]+)(?:-(?P<backend>cpu|cuda|rocm|hip|vulkan))?"
    r"(?:-(?P<version>[\d.]+|radeon))?-(?P<machine>x64|arm64)\.(?:zip|tar\.gz)"
)
_WHEELS = re.compile(r"v?(?P<version>[\d.]+)-(?P<backend>cu|rocm|vulkan)-?(?P<of>[\d.]*)")
# The oldest driver and compute capability that a major version of CUDA works with.
# Source: CUDA Toolkit release notes, "CUDA Driver and Toolkit compatibility".
_CUDA_NEEDS = {12: (525, (5, 0)), 13: (580, (7, 5))}


class OfferKind(StrEnum):
    """An archive with a llama-server, a wheel with the engine that comes with Launchdeck, an environment of pip's."""

    ARCHIVE = "archive"
    WHEEL = "wheel"
    ENVIRONMENT = "environment"


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that an engine is wanted for, in Python's words (`sys.platform`, `platform.machine()`).

    `rocm` is the version of ROCm that is installed, None without one. `tags` are the wheels that our Python takes, and
    `embedded_version` is the version of the engine that came along: the program around it was written for that one.
    """

    system: str
    machine: str
    gpus: tuple[Gpu, ...]
    rocm: tuple[int, ...] | None = None
    tags: frozenset[str] = frozenset()
    embedded_version: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One engine to be got. `id` names its folder; `title` consists of names; `reason` says why it is offered.

    Of an archive the first of the `files` holds the program, and what the others hold belongs beside it.
    """

    id: str
    kind: OfferKind
    title: str
    reason: Message
    needs_bytes: int
    files: tuple[NamedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class _Build:
    """A build for a backend (CUDA, ROCm, Vulkan, CPU); `of` is the version of CUDA or ROCm it was made with."""

    backend: str
    of: tuple[int, ...]
    version: str
    files: tuple[NamedFile, ...] = field(compare=False)

    @property
    def words(self) -> str:
        return f"{self.backend} {'.'.join(map(str, self.of))}".strip()


def offers(
    target: Target, archives: Sequence[Release], wheels: Sequence[Release], *, own_index: bool = False
) -> tuple[Offer, ...]:
    """What can be got for this machine, the best first. `own_index`: vLLM comes from an index that the user named."""
    found = [
        *(_archive_offer(build, target) for build in _fitting(_archives(target, archives), target)),
        *(_wheel_offer(build) for build in _fitting(_wheels(target, wheels), target) if build.backend in _MASKED),
        *_vllm(target, own_index=own_index),
    ]
    return tuple(found)


def _archives(target: Target, releases: Sequence[Release]) -> Iterator[_Build]:
    for release in releases:
        by_name = {file.name: file for file in release.files}
        for name, file in by_name.items():
            match = _ARCHIVE.fullmatch(name)
            if match is None or match["system"] not in _SYSTEMS.get(target.system, ()):
                continue
            if match["machine"] != _MACHINES.get(target.machine.lower()):
                continue
            backend = {"cuda": "CUDA", "rocm": "ROCm", "hip": "ROCm", "vulkan": "Vulkan"}.get(match["backend"], "CPU")
            runtimes = (f"cudart-{name}", f"cudart-{name.replace(match['build'] + '-', '')}")
            beside = tuple(by_name[runtime] for runtime in runtimes if runtime in by_name)
            yield _Build(backend, _version(match["version"]), match["build"], (file, *beside))


def _wheels(target: Target, releases: Sequence[Release]) -> Iterator[_Build]:
    """Those for our Python. The version that we know comes before newer ones."""
    builds = []
    for release in releases:
        match = _WHEELS.fullmatch(release.tag)
        wheel = next((file for file in release.files if target.tags & wheel_tags(file.name)), None)
        if match is None or wheel is None:
            continue
        of = match["of"] if match["backend"] != "cu" else f"{match['of'][:-1]}.{match['of'][-1:]}"
        backend = {"cu": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan"}[match["backend"]]
        builds.append(_Build(backend, _version(of), match["version"], (wheel,)))
    yield from sorted(builds, key=lambda build: build.version != target.embedded_version)


def wheel_tags(name: str) -> frozenset[str]:
    """The tags in a wheel's name, none if it is no wheel's."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename  # noqa: PLC0415 (few starts need it)

    try:
        return frozenset(map(str, parse_wheel_filename(name)[3]))
    except InvalidWheelFilename:
        return frozenset()


def _fitting(builds: Iterator[_Build], target: Target) -> list[_Build]:
    """One build for each backend that this machine's GPUs have: the one that fits best, of the newest release."""
    best: dict[str, _Build] = {}
    for build in builds:
        known = best.get(build.backend)
        if _fits(build, target) and (known is None or (build.version == known.version and build.of > known.of)):
            best[build.backend] = build
    return [best[backend] for backend in ("CUDA", "ROCm", "Vulkan", "CPU") if backend in best]


def _fits(build: _Build, target: Target) -> bool:
    nvidia = [gpu for gpu in target.gpus if gpu.gpu_type is GpuType.NVIDIA]
    amd = [gpu for gpu in target.gpus if gpu.gpu_type is GpuType.AMD]
    match build.backend:
        case "CUDA":
            return bool(nvidia) and all(_runs_cuda(gpu, build.of) for gpu in nvidia)
        case "ROCm":
            # Its libraries are not in the build: those of this machine are used, and fit up to the major version.
            here = target.rocm
            return bool(amd) and (target.system == "win32" or (here is not None and here[:1] == build.of[:1]))
        case "Vulkan":
            return bool(target.gpus)
    return not target.gpus


def _runs_cuda(gpu: Gpu, cuda: tuple[int, ...]) -> bool:
    driver, capability = _CUDA_NEEDS.get(cuda[0] if cuda else 0, (10_000, (0, 0)))
    installed = _version((gpu.driver_version or "").partition(" ")[0])
    return installed[:1] >= (driver,) and (compute_capability(gpu) or capability) >= capability


def _archive_offer(build: _Build, target: Target) -> Offer:
    suffix = build.words.lower().replace(" ", "-")
    return Offer(
        id=f"llama.cpp-{build.version}-{suffix}",
        kind=OfferKind.ARCHIVE,
        title=f"llama-server {build.version} · {build.words}",
        reason=_reason(build, target),
        needs_bytes=sum(file.remote.size_bytes for file in build.files),
        files=build.files,
    )


def _reason(build: _Build, target: Target) -> Message:
    match build.backend:
        case "CUDA":
            return Message("NVIDIA's own interface: the fastest on {gpus}", gpus=_names(target, GpuType.NVIDIA))
        case "ROCm":
            return Message(
                "AMD's own interface, with this machine's ROCm, for {gpus}", gpus=_names(target, GpuType.AMD)
            )
        case "Vulkan":
            return Message("Needs nothing but the driver, and can use GPUs of two vendors together")
    return Message("llama.cpp's own build for the CPU")


def _wheel_offer(build: _Build) -> Offer:
    suffix = build.words.lower().replace(" ", "-")
    return Offer(
        id=f"xllamacpp-{build.version}-{suffix}",
        kind=OfferKind.WHEEL,
        title=f"xllamacpp {build.version} · {build.words}",
        reason=Message("The engine that comes with Launchdeck, built for GPUs"),
        needs_bytes=sum(file.remote.size_bytes for file in build.files),
        files=build.files,
    )


def _vllm(target: Target, *, own_index: bool) -> Iterator[Offer]:
    """The registry's vLLM is built for CUDA; for ROCm there is one on an index of its own."""
    if target.system != "linux" or _MACHINES.get(target.machine.lower()) is None:
        return
    for_cuda = any(
        (compute_capability(gpu) or MIN_COMPUTE_CAPABILITY) >= MIN_COMPUTE_CAPABILITY
        for gpu in target.gpus
        if gpu.gpu_type is GpuType.NVIDIA
    )
    if for_cuda or (own_index and any(gfx_target(gpu) in ROCM_TARGETS for gpu in target.gpus)):
        yield Offer(
            id="vllm",
            kind=OfferKind.ENVIRONMENT,
            title="vLLM",
            reason=Message("Serves models in safetensors format, to many at once; in an environment of its own"),
            needs_bytes=VLLM_NEEDS_BYTES,
        )


def _names(target: Target, vendor: GpuType) -> str:
    return ", ".join(dict.fromkeys(gpu.name for gpu in target.gpus if gpu.gpu_type is vendor))


def _version(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (text or "").split(".") if part.isdecimal())
