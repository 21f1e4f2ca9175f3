"""PCI addresses are written in several ways, and what is not on the bus is neither a card nor asleep."""

from __future__ import annotations

import pytest

from fakes.system import AMD, NVIDIA, FakeSystem
from launchdeck.hardware.amd.detector import AMDSMIDetector
from launchdeck.hardware.amd.sysfs import AMDGPUSysfsDetector
from launchdeck.hardware.nvidia.detector import NVMLDetector
from launchdeck.hardware.pci import PciBus, normalise_address


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("00000000:0A:00.0", "0000:0a:00.0"),
        ("0000:0a:00.0", "0000:0a:00.0"),
        ("00010000:C1:1F.7", "10000:c1:1f.7"),
        ("0a:00.0", "0000:0a:00.0"),
        (" 0000:0a:00.0\n", "0000:0a:00.0"),
        ("N/A", None),
        ("", None),
        ("0000:0a:00", None),
        ("0000:0g:00.0", None),
    ],
)
def test_addresses(written: str, address: str | None):
    assert normalise_address(written) == address


def test_cards_are_told_by_vendor_and_class(system: FakeSystem):
    system.add_card("0000:03:00.0", AMD)
    system.add_card("0000:02:00.0", NVIDIA, pci_class=0x030200)
    system.add_card("0000:01:00.0", NVIDIA)
    system.add_card("0000:01:00.1", NVIDIA, pci_class=0x040300)  # a card's sound device
    system.add_card("0000:04:00.0", AMD, pci_class=0x120000)
    bus = PciBus(system.root)
    assert bus.look(NVIDIA).cards == ("0000:01:00.0", "0000:02:00.0")
    assert bus.look(AMD).cards == ("0000:03:00.0", "0000:04:00.0")


@pytest.mark.parametrize("make", [NVMLDetector, AMDSMIDetector, AMDGPUSysfsDetector])
def test_a_detector_looks_at_the_bus_once_for_a_list(nvml, amdsmi, system: FakeSystem, opened: list[str], make):
    nvml.add_gpu()
    amdsmi.add_gpu()
    system.add_card("0000:01:00.0", NVIDIA)
    system.add_amd("0000:03:00.0")
    detector = make(root=system.root)
    detector.get_gpu_list()
    opened.clear()
    detector.get_gpu_list()
    detector.close()
    assert len([file for file in opened if file.endswith("0000:01:00.0/vendor")]) == 1


def test_without_sysfs_there_are_no_cards_and_nobody_sleeps(tmp_path):
    bus = PciBus(tmp_path)
    assert bus.look(NVIDIA).cards == ()
    assert not bus.is_asleep("0000:01:00.0")
    assert not bus.is_asleep(None)
