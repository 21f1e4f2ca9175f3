"""Architectures by the names that drivers give to GPUs."""

from __future__ import annotations

import pytest

from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.hardware.gpu_names import compute_capability, gfx_target


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("NVIDIA GeForce GTX 1080 Ti", (6, 1)),
        ("GTX 1080 Ti", (6, 1)),
        ("NVIDIA GeForce GTX 970", (5, 2)),
        ("Tesla P40", (6, 1)),
        ("Tesla P100-PCIE-16GB", (6, 0)),
        ("Tesla V100-SXM2-32GB", (7, 0)),
        ("Tesla T4", (7, 5)),
        ("NVIDIA GeForce GTX 1660 Ti", (7, 5)),
        ("NVIDIA GeForce RTX 2080 Ti", (7, 5)),
        ("Quadro RTX 8000", (7, 5)),
        ("NVIDIA A100-SXM4-80GB", (8, 0)),
        ("NVIDIA A10", (8, 6)),
        ("NVIDIA RTX A6000", (8, 6)),
        ("NVIDIA GeForce RTX 3090", (8, 6)),
        ("NVIDIA GeForce RTX 4090", (8, 9)),
        ("NVIDIA RTX 6000 Ada Generation", (8, 9)),
        ("NVIDIA L4", (8, 9)),
        ("NVIDIA L40S", (8, 9)),
        ("NVIDIA H100 80GB HBM3", (9, 0)),
        ("NVIDIA B200", (10, 0)),
        ("NVIDIA GeForce RTX 5090", (12, 0)),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", (12, 0)),
        ("Something new", None),
    ],
)
def test_nvidia(name: str, capability: tuple[int, int] | None) -> None:
    assert compute_capability(Gpu(0, "x", None, name, GpuType.NVIDIA, None)) == capability
    assert compute_capability(Gpu(0, "x", None, name, GpuType.NVIDIA, None, compute_capability=(1, 2))) == (1, 2)
    assert compute_capability(Gpu(0, "x", None, name, GpuType.AMD, None)) is None


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("AMD Instinct MI300X", "gfx942"),
        ("AMD Instinct MI250X / MI250", "gfx90a"),
        ("AMD Instinct MI355X", "gfx950"),
        ("AMD Instinct MI50", "gfx906"),
        ("Radeon RX 7900 XTX", "gfx1100"),
        ("AMD Radeon RX 7800 XT", "gfx1101"),
        ("AMD Radeon RX 7600", "gfx1102"),
        ("AMD Radeon RX 6950 XT", "gfx1030"),
        ("AMD Radeon RX 6700 XT", "gfx1031"),
        ("AMD Radeon RX 6600 XT", "gfx1032"),
        ("AMD Radeon RX 9070 XT", "gfx1201"),
        ("AMD Radeon Graphics (Strix Halo)", "gfx1151"),
        ("AMD Radeon Graphics", None),
    ],
)
def test_amd(name: str, target: str | None) -> None:
    assert gfx_target(Gpu(0, "x", None, name, GpuType.AMD, None)) == target
    assert gfx_target(Gpu(0, "x", None, name, GpuType.AMD, None, gfx_target="gfx1")) == "gfx1"
    assert gfx_target(Gpu(0, "x", None, name, GpuType.NVIDIA, None)) is None
