"""Which builds are offered for which machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from fakes.mutations import changed
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.engines.getting.offers import OfferKind, Target, offers
from launchdeck.engines.getting.releases import Release, parse_releases
from launchdeck.files.removal import is_child_name
from launchdeck.network.remote_file import NamedFile, RemoteFile

B = "b11476"
ARCHIVES = (
    f"llama-{B}-bin-ubuntu-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-arm64.tar.gz",
    f"llama-{B}-bin-ubuntu-vulkan-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-vulkan-arm64.tar.gz",
    f"llama-{B}-bin-ubuntu-cuda-12.8-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-cuda-13.4-x64.tar.gz",
    f"cudart-llama-{B}-bin-ubuntu-cuda-12.8-x64.tar.gz",
    f"cudart-llama-{B}-bin-ubuntu-cuda-13.4-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-rocm-7.14-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-rocm-10.0-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-sycl-fp16-x64.tar.gz",
    f"llama-{B}-bin-ubuntu-openvino-2026.0-x64.tar.gz",
    f"llama-{B}-bin-macos-arm64.tar.gz",
    f"llama-{B}-bin-win-cpu-x64.zip",
    f"llama-{B}-bin-win-cuda-12.4-x64.zip",
    "cudart-llama-bin-win-cuda-12.4-x64.zip",
    f"llama-{B}-bin-win-vulkan-x64.zip",
    f"llama-{B}-xcframework.zip",
)
TAG = "cp311-cp311-manylinux_2_35_x86_64"


def release(tag: str, *names: str) -> Release:
    return Release(tag, tuple(NamedFile(name, RemoteFile(f"http://x/{name}", 10, "0" * 64)) for name in names))


def wheels(version: str) -> list[Release]:
    return [
        release(f"v{version}-{variant}", f"xllamacpp-{version}-cp310-cp310-manylinux_2_35_x86_64.whl",
                f"xllamacpp-{version}-{TAG}.whl")
        for variant in ("cu128", "cu132", "rocm-7.2.4", "vulkan")
    ]  # fmt: skip


def nvidia(driver: str | None = "580.65.06", capability: tuple[int, int] | None = (8, 9)) -> Gpu:
    return Gpu(0, "GPU-0", None, "RTX 4090", GpuType.NVIDIA, 24 << 30, driver, capability)


AMD = Gpu(1, "amd-1", None, "RX 7900 XTX", GpuType.AMD, 24 << 30, gfx_target="gfx1100")
LINUX = Target("linux", "x86_64", (nvidia(),), tags=frozenset({TAG}))


def ids(target: Target, *, own_index: bool = False) -> list[str]:
    return [offer.id for offer in offers(target, [release(B, *ARCHIVES)], wheels("2026.10.1"), own_index=own_index)]


def test_an_nvidia_gpu_is_offered_cuda_vulkan_the_package_and_vllm() -> None:
    assert ids(LINUX) == [
        f"llama.cpp-{B}-cuda-13.4",
        f"llama.cpp-{B}-vulkan",
        "xllamacpp-2026.10.1-cuda-13.2",
        "vllm",
    ]


def test_cudas_libraries_come_along() -> None:
    cuda = offers(LINUX, [release(B, *ARCHIVES)], [])[0]
    assert [file.name for file in cuda.files] == [
        f"llama-{B}-bin-ubuntu-cuda-13.4-x64.tar.gz",
        f"cudart-llama-{B}-bin-ubuntu-cuda-13.4-x64.tar.gz",
    ]
    assert cuda.needs_bytes == 20
    windows = replace(LINUX, system="win32", machine="AMD64")
    first = offers(windows, [release(B, *ARCHIVES)], [])[0]
    assert [file.name for file in first.files] == [ARCHIVES[14], ARCHIVES[15]]


@pytest.mark.parametrize(
    ("gpu", "cuda"),
    [
        (nvidia("570.133.07"), "cuda-12.8"),  # the driver is older than CUDA 13
        (nvidia(capability=(7, 0)), "cuda-12.8"),  # CUDA 13 has left Volta behind
        (nvidia("470.57.02"), None),
        (nvidia(None), None),
        (nvidia(capability=None), "cuda-13.4"),
    ],
)
def test_cuda_fits_the_driver_and_the_gpu(gpu: Gpu, cuda: str | None) -> None:
    archives = [one for one in ids(replace(LINUX, gpus=(gpu,))) if one.startswith("llama.cpp")]
    assert archives == ([f"llama.cpp-{B}-{cuda}"] if cuda else []) + [f"llama.cpp-{B}-vulkan"]


def test_rocm_is_offered_where_its_libraries_are() -> None:
    target = replace(LINUX, gpus=(AMD,))
    assert ids(target) == [f"llama.cpp-{B}-vulkan"]
    assert ids(replace(target, rocm=(7, 2, 1))) == [
        f"llama.cpp-{B}-rocm-7.14",
        f"llama.cpp-{B}-vulkan",
        "xllamacpp-2026.10.1-rocm-7.2.4",
    ]
    assert ids(replace(target, rocm=(6, 4))) == [f"llama.cpp-{B}-vulkan"]


def test_vllm_for_amd_needs_an_index_of_its_own_and_a_gpu_it_is_built_for() -> None:
    target = replace(LINUX, gpus=(AMD,))
    assert "vllm" in ids(target, own_index=True)
    assert "vllm" not in ids(replace(target, gpus=(replace(AMD, gfx_target="gfx1030"),)), own_index=True)
    assert "vllm" not in ids(replace(LINUX, gpus=(nvidia(capability=(7, 0)),)))
    assert "vllm" not in ids(replace(LINUX, system="win32"))


def test_two_vendors_are_offered_what_each_takes() -> None:
    found = ids(replace(LINUX, gpus=(nvidia(), AMD), rocm=(7, 2)))
    assert [one.split(f"{B}-")[-1] for one in found[:3]] == ["cuda-13.4", "rocm-7.14", "vulkan"]


def test_without_a_gpu_there_is_the_build_for_the_cpu() -> None:
    assert ids(replace(LINUX, gpus=())) == [f"llama.cpp-{B}-cpu"]
    assert ids(replace(LINUX, gpus=(), machine="aarch64")) == [f"llama.cpp-{B}-cpu"]
    assert ids(replace(LINUX, gpus=(), machine="riscv64")) == []


def test_a_release_that_is_still_being_published_is_passed_over() -> None:
    newest = release("b12000", "llama-b12000-bin-ubuntu-vulkan-x64.tar.gz")
    found = offers(LINUX, [newest, release(B, *ARCHIVES)], [])
    assert [offer.id for offer in found[:2]] == [f"llama.cpp-{B}-cuda-13.4", "llama.cpp-b12000-vulkan"]


def test_the_package_is_taken_in_the_version_that_came_along() -> None:
    both = [*wheels("2026.11.1"), *wheels("2026.10.1")]
    known = replace(LINUX, embedded_version="2026.10.1")
    assert [o.title for o in offers(known, [], both) if o.kind is OfferKind.WHEEL] == [
        "xllamacpp 2026.10.1 · CUDA 13.2"
    ]
    assert [o.title for o in offers(LINUX, [], both) if o.kind is OfferKind.WHEEL] == [
        "xllamacpp 2026.11.1 · CUDA 13.2"
    ]
    assert not [o for o in offers(replace(LINUX, tags=frozenset()), [], both) if o.kind is OfferKind.WHEEL]


GOOD = {
    "name": "a.zip",
    "size": 5,
    "state": "uploaded",
    "digest": "sha256:" + "a" * 64,
    "browser_download_url": "https://x/a.zip",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"digest": None},
        {"digest": "md5:00"},
        {"name": "../a.zip"},
        {"size": 0},
        {"size": "5"},
        {"state": "starter"},
        {"browser_download_url": "file:///etc/passwd"},
    ],
)
def test_only_files_that_can_be_checked_are_taken(wrong: dict[str, object]) -> None:
    (found,) = parse_releases([{"tag_name": "b1", "assets": [{**GOOD, **wrong}, GOOD]}], "x")
    assert [file.name for file in found.files] == ["a.zip"]
    assert found.files[0].remote.sha256 == "a" * 64


@pytest.mark.parametrize("document", [None, {}, "x", 7, {"message": "API rate limit exceeded"}])
def test_what_is_no_list_of_releases_is_told(document: object) -> None:
    with pytest.raises(LaunchdeckError, match="The answer of here cannot be read: it is no list of releases"):
        parse_releases(document, "here")


@pytest.mark.parametrize(
    "entry",
    [None, {}, [], {"tag_name": 1}, {"tag_name": ".."}, {"tag_name": "a/b"}, {"tag_name": "x" * 300},
     {"tag_name": "x", "draft": True}, {"tag_name": "x", "prerelease": True}],
)  # fmt: skip
def test_what_is_no_release_is_left_out_alone(entry: object) -> None:
    assert parse_releases([entry, {"tag_name": "b1", "assets": None}], "x") == (Release("b1", ()),)


def test_no_answer_of_a_server_makes_anything_but_offers_for_folders_of_ours(
    record_property: Callable[[str, object], None],
) -> None:
    """Answers with something wrong in them: a sentence at most, and names that stay where they are."""
    names = [*ARCHIVES, "xllamacpp-2026.10.1-cp312-cp312-manylinux_2_28_x86_64.whl"]
    asset = {"state": "uploaded", "size": 5, "digest": GOOD["digest"], "browser_download_url": "https://x/y"}
    valid = [
        {"tag_name": tag, "draft": False, "prerelease": False, "assets": [{**asset, "name": name} for name in names]}
        for tag in (B, "v2026.10.1-cu132", "2026.10.1-rocm-7.1")
    ]
    count = sentences = offered = 0
    chance = Random(11)
    for _ in range(1500):
        count += 1
        document = changed(valid, chance)
        try:
            releases = parse_releases(document, "x")
        except LaunchdeckError:
            sentences += 1
            continue
        for target in (LINUX, replace(LINUX, gpus=())):
            for offer in offers(target, releases, releases):
                offered += 1
                assert is_child_name(offer.id)
                assert len(offer.id.encode()) <= 255
                assert 0 < offer.needs_bytes < 1 << 60
                assert all(is_child_name(file.name) for file in offer.files)
    record_property(
        "fuzzed", f"published builds: {count} inputs, {sentences} told in a sentence, {offered} offers of the rest"
    )
    assert offered > count
