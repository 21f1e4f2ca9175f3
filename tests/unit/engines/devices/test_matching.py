"""Which listed device each GPU is: never one device twice, and nothing that contradicts what is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchdeck.domain.gpu import Gpu, GpuType
from launchdeck.engines.devices.card import Card
from launchdeck.engines.devices.listing import Listed, bus_place, model_name
from launchdeck.engines.devices.matching import Rule, match_devices

MIB = 1024 * 1024
NVIDIA, AMD = GpuType.NVIDIA, GpuType.AMD


def card(
    bus: int, name: str = "NVIDIA GeForce RTX 4090", total: int | None = 24564, free: int | None = None, **more: object
) -> Card:
    vendor = AMD if "AMD" in name or "Radeon" in name else NVIDIA
    gpu = Gpu(
        bus, f"GPU-{bus}", f"0000:{bus:02x}:00.0", name, vendor, total and total * MIB, integrated="integrated" in more
    )
    return Card(gpu, free and free * MIB, None, answers=bool(more.get("answers", True)))


def listing(*devices: tuple[str, int, int], backend: str = "Vulkan") -> list[Listed]:
    return [
        Listed(f"{backend}{place}", text, total * MIB, free * MIB) for place, (text, total, free) in enumerate(devices)
    ]


def matched(
    cards: list[Card], devices: list[Listed], addresses: dict[str, str] | None = None
) -> dict[int, tuple[str, Rule]]:
    """By the card's bus, which device it is and why."""
    matches = match_devices(cards, devices, addresses or {})
    return {match.card.gpu.index: (match.device.name, match.rule) for match in matches.values()}


RTX = ("NVIDIA GeForce RTX 4090", 24564, 23000)


def test_twins_are_told_apart_by_their_order_on_the_bus_which_is_an_assumption() -> None:
    assert matched([card(0x41), card(1)], listing(RTX, RTX)) == {
        1: ("Vulkan0", Rule.ORDER),
        0x41: ("Vulkan1", Rule.ORDER),
    }


def test_twins_of_which_one_is_used_are_told_apart_by_what_is_free() -> None:
    used = ("NVIDIA GeForce RTX 4090", 24564, 9000)
    assert matched([card(1, free=9100), card(0x41, free=22900)], listing(RTX, used)) == {
        1: ("Vulkan1", Rule.FREE),
        0x41: ("Vulkan0", Rule.FREE),
    }


def test_free_memory_that_has_changed_since_the_listing_tells_nothing() -> None:
    """Both were empty when they were listed."""
    found = matched([card(1, free=9000), card(0x41, free=23000)], listing(RTX, RTX))
    assert {rule for _, rule in found.values()} == {Rule.ORDER}


@pytest.mark.parametrize("off", [-1000, -300, 300, 600, 1000])
def test_what_the_engine_and_the_driver_keep_for_themselves_does_not_mix_up_twins(off: int) -> None:
    """All that one of them has is less by it; by 600 MiB the wrong two would look alike."""
    cards = [card(1, free=9000), card(2, free=9600), card(3, free=23000)]
    devices = listing(*((RTX[0], 24564, free + off) for free in (23000, 9000, 9600)))
    assert matched(cards, devices) == {
        1: ("Vulkan1", Rule.FREE),
        2: ("Vulkan2", Rule.FREE),
        3: ("Vulkan0", Rule.FREE),
    }


def test_distances_that_are_not_the_same_tell_nothing() -> None:
    """One of them has changed since the listing, and nobody knows which."""
    cards = [card(1, free=5000), card(2, free=23000)]
    found = matched(cards, listing((RTX[0], 24564, 15000), (RTX[0], 24564, 5000)))
    assert {rule for _, rule in found.values()} == {Rule.ORDER}


def test_a_twin_that_sleeps_leaves_the_others_what_they_are() -> None:
    cards = [card(1, free=9000), card(2), card(3, free=15000)]
    devices = listing(*((RTX[0], 24564, free) for free in (14700, 23900, 8700)))
    assert matched(cards, devices) == {
        1: ("Vulkan2", Rule.FREE),
        2: ("Vulkan1", Rule.FREE),
        3: ("Vulkan0", Rule.FREE),
    }
    # one that sleeps is empty, and so is another: these two are not told apart, the third is
    cards = [card(1, free=23500), card(2), card(3, free=9000)]
    devices = listing(*((RTX[0], 24564, free) for free in (8900, 23400, 23300)))
    found = matched(cards, devices)
    assert found[3] == ("Vulkan0", Rule.FREE)
    assert {found[1], found[2]} == {("Vulkan1", Rule.ORDER), ("Vulkan2", Rule.ORDER)}
    # it could be either of two
    found = matched([card(1, free=9000), card(2)], listing((RTX[0], 24564, 9100), (RTX[0], 24564, 8400)))
    assert {rule for _, rule in found.values()} == {Rule.ORDER}


def test_of_three_twins_one_is_told_by_what_is_free_and_the_others_come_in_their_order() -> None:
    used = ("NVIDIA GeForce RTX 4090", 24564, 5000)
    cards = [card(1, free=23000), card(2, free=5000), card(3, free=23100)]
    assert matched(cards, listing(used, RTX, RTX)) == {
        2: ("Vulkan0", Rule.FREE),
        1: ("Vulkan1", Rule.ORDER),
        3: ("Vulkan2", Rule.ORDER),
    }


def test_what_the_engine_has_said_goes_before_everything() -> None:
    cards = [card(1, free=23000), card(0x41, free=9000)]
    used = ("NVIDIA GeForce RTX 4090", 24564, 9000)
    told = {"Vulkan0": "0000:41:00.0"}
    assert matched(cards, listing(RTX, used), told) == {
        0x41: ("Vulkan0", Rule.ADDRESS),
        1: ("Vulkan1", Rule.NAME),
    }
    # two devices of two cards at one place: what was said last counts, and the other may be anywhere
    both = {"Vulkan1": "0000:01:00.0", "Vulkan0": "00000000:01:00.0"}
    assert matched(cards, listing(RTX, RTX), both) == {1: ("Vulkan1", Rule.ADDRESS), 0x41: ("Vulkan0", Rule.NAME)}


def test_addresses_that_were_learned_before_a_card_was_moved_are_not_believed() -> None:
    """One was said to be where nothing is now, and a card is where nothing was said to be."""
    moved = [card(1), card(0x42)]
    told = {"Vulkan1": "0000:01:00.0", "Vulkan0": "0000:41:00.0"}
    assert matched(moved, listing(RTX, RTX), told) == {1: ("Vulkan0", Rule.ORDER), 0x42: ("Vulkan1", Rule.ORDER)}
    # where a card is only away, or only some were said, the others still hold
    assert matched([card(1)], listing(RTX, RTX), told) == {1: ("Vulkan1", Rule.ADDRESS)}
    assert matched([card(1), card(0x41)], listing(RTX, RTX), {"Vulkan1": "0000:01:00.0"}) == {
        1: ("Vulkan1", Rule.ADDRESS),
        0x41: ("Vulkan0", Rule.NAME),
    }


def test_an_address_that_was_learned_excludes_no_device_and_one_that_is_stated_does() -> None:
    told = {"Vulkan0": "0000:99:00.0"}
    assert matched([card(1)], listing(RTX), told) == {1: ("Vulkan0", Rule.NAME)}
    stated = listing((f"{RTX[0]} (0000:99:00.0)", 24564, 23000), (f"{RTX[0]} (0000:01:00.0)", 24564, 23000))
    assert matched([card(1)], stated) == {1: ("Vulkan1", Rule.ADDRESS)}
    assert matched([card(1)], stated[:1]) == {}


def test_a_name_that_one_card_alone_has_goes_before_an_address_that_was_learned() -> None:
    """The cards have changed places, and the listing is the same as before."""
    cards = [card(1, "NVIDIA GeForce RTX 4070", 12282), card(2, "NVIDIA GeForce RTX 4070 Ti", 12282)]
    devices = listing(("NVIDIA GeForce RTX 4070", 12282, 1), ("NVIDIA GeForce RTX 4070 Ti", 12282, 1))
    told = {"Vulkan0": "0000:02:00.0", "Vulkan1": "0000:01:00.0"}
    assert matched(cards, devices, told) == {1: ("Vulkan0", Rule.NAME), 2: ("Vulkan1", Rule.NAME)}
    # of a card whose name the engine does not have, the address is all there is
    nameless = [replace(one, gpu=replace(one.gpu, name=f"NVIDIA {n}")) for n, one in enumerate(cards)]
    assert matched(nameless, devices, told) == {1: ("Vulkan1", Rule.ADDRESS), 2: ("Vulkan0", Rule.ADDRESS)}


def test_an_address_in_the_listing_counts_as_well() -> None:
    devices = listing((f"{RTX[0]} (0000:41:00.0)", 24564, 23000), (f"{RTX[0]} (0000:01:00.0)", 24564, 23000))
    assert matched([card(1), card(0x41)], devices) == {
        0x41: ("Vulkan0", Rule.ADDRESS),
        1: ("Vulkan1", Rule.ADDRESS),
    }


def test_a_name_that_contains_another_is_another_name() -> None:
    small, large = "NVIDIA GeForce RTX 4070", "NVIDIA GeForce RTX 4070 Ti"
    cards = [card(1, small, 12282), card(2, large, 12282), card(3, "NVIDIA GeForce RTX 4070 Ti SUPER", 16376)]
    devices = listing(("NVIDIA GeForce RTX 4070 Ti SUPER", 16376, 1), (large, 12282, 1), (small, 12282, 1))
    assert matched(cards, devices) == {
        1: ("Vulkan2", Rule.NAME),
        2: ("Vulkan1", Rule.NAME),
        3: ("Vulkan0", Rule.NAME),
    }


def test_one_name_with_two_sizes() -> None:
    cards = [card(1, total=49140), card(2, total=24564)]
    assert matched(cards, listing(RTX, (RTX[0], 49140, 48000))) == {
        1: ("Vulkan1", Rule.TOTAL),
        2: ("Vulkan0", Rule.TOTAL),
    }


@pytest.mark.parametrize("text", ["AMD Radeon Graphics (RADV GFX1201)", "AMD Radeon RX 9070 XT (RADV GFX1201)"])
def test_a_card_that_no_list_has_is_told_by_its_memory(text: str) -> None:
    assert matched([card(3, "AMD GPU 7551", 32624)], listing((text, 32624, 32000))) == {3: ("Vulkan0", Rule.TOTAL)}


def test_the_only_one_that_is_left_is_it() -> None:
    sliced = listing(("NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9856, 9800))
    assert matched([card(1, "NVIDIA A100-SXM4-80GB", 81920)], sliced) == {1: ("Vulkan0", Rule.LAST)}
    other = listing(("AMD Radeon Graphics (RADV GFX1201)", 32624, 32000))
    assert matched([card(1, "AMD GPU 7551", 24560)], other) == {1: ("Vulkan0", Rule.LAST)}


def test_a_gpu_inside_a_processor_is_no_card() -> None:
    inside = ("AMD Radeon Graphics (RADV RAPHAEL_MENDOCINO)", 15900, 15000)
    assert matched([card(3, "AMD GPU 744C", 24560)], listing(inside)) == {}
    known = card(9, "AMD Radeon Graphics", 512, integrated=True)
    both = listing(inside, ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 24560, 24000))
    assert matched([card(3, "AMD GPU 744C", 24560), known], both) == {
        3: ("Vulkan1", Rule.TOTAL),
        9: ("Vulkan0", Rule.LAST),
    }
    assert matched([card(3, "AMD GPU 744C", 24560), known], listing(inside)) == {}


@pytest.mark.parametrize(
    "text",
    [
        "llvmpipe (LLVM 17.0.6, 256 bits, AMD Ryzen 9)",
        "SwiftShader Device (LLVM 10.0.0)",
        "Intel(R) Arc(tm) B580 Graphics (BMG G21)",
        "Intel(R) Graphics (RPL-S)",
    ],
)
def test_what_is_no_gpu_of_ours_is_nobody(text: str) -> None:
    for name in ("AMD GPU 744C", "NVIDIA GeForce RTX 4090"):
        assert matched([card(1, name, 24560)], listing((text, 24560, 24000))) == {}


def test_two_drivers_of_one_card_list_it_twice() -> None:
    devices = listing(
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 24560, 24000),
        ("AMD Radeon RX 7900 XTX (AMD open-source driver)", 24560, 24000),
    )
    found = matched([card(3, "AMD Radeon RX 7900 XTX", 24560)], devices)
    assert list(found) == [3]


XTX = ("AMD Radeon RX 7900 XTX (RADV NAVI31)", 24560, 24000)
AMDVLK = ("AMD Radeon RX 7900 XTX", 24560, 24000)
NVK = (f"{RTX[0]} (NVK AD102)", *RTX[1:])


@pytest.mark.parametrize("order", [(0, 0, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1), (1, 1, 0, 0)])
@pytest.mark.parametrize(
    ("name", "drivers"),
    [("AMD Radeon RX 7900 XTX", (XTX, AMDVLK)), ("AMD GPU 744C", (XTX, AMDVLK)), (RTX[0], (RTX, NVK))],
)
def test_two_cards_that_two_drivers_list_are_four_devices(
    order: tuple[int, ...], name: str, drivers: tuple[tuple[str, int, int], ...]
) -> None:
    """The first driver's count, in their order."""
    devices = listing(*(drivers[driver] for driver in order))
    first = [device.name for device, driver in zip(devices, order, strict=True) if driver == order[0]]
    cards = [card(1, name, 24560), card(0x41, name, 24560)]
    assert matched(cards, devices) == {1: (first[0], Rule.ORDER), 0x41: (first[1], Rule.ORDER)}
    # the other driver's are nobody else either
    third = card(0x51, "AMD GPU 1" if "AMD" in name else "NVIDIA GeForce RTX 3060", 24560 * 2)
    assert 0x51 not in matched([*cards, third], devices)


def test_where_the_address_is_known_two_drivers_do_not_matter() -> None:
    stated = listing(*((f"{RTX[0]} (0000:{bus}:00.0)", 24564, 23000) for bus in ("41", "01", "41", "01")))
    cards = [card(1), card(0x41)]
    assert matched(cards, stated) == {0x41: ("Vulkan0", Rule.ADDRESS), 1: ("Vulkan1", Rule.ADDRESS)}
    told = {"Vulkan3": "0000:01:00.0", "Vulkan0": "0000:41:00.0", "Vulkan1": "0000:01:00.0", "Vulkan2": "0000:41:00.0"}
    assert matched(cards, listing(RTX, RTX, RTX, RTX), told) == {
        0x41: ("Vulkan0", Rule.ADDRESS),
        1: ("Vulkan3", Rule.ADDRESS),
    }
    # what is known of one of them leaves the other ones
    told = {"Vulkan1": "0000:01:00.0", "Vulkan0": "0000:01:00.0"}
    assert matched(cards, listing(RTX, RTX, RTX, RTX), told) == {
        1: ("Vulkan1", Rule.ADDRESS),
        0x41: ("Vulkan2", Rule.ORDER),
    }


def test_two_drivers_that_leave_no_note_list_a_card_twice_in_their_order() -> None:
    assert matched([card(1), card(2)], listing(RTX, RTX, RTX, RTX)) == {
        1: ("Vulkan0", Rule.ORDER),
        2: ("Vulkan1", Rule.ORDER),
    }
    assert matched([card(1)], listing(RTX, RTX)) == {1: ("Vulkan0", Rule.ORDER)}
    used = (RTX[0], 24564, 9000)
    assert matched([card(1, free=22900), card(2, free=9100)], listing(used, used, RTX, RTX)) == {
        1: ("Vulkan2", Rule.ORDER),
        2: ("Vulkan0", Rule.ORDER),
    }
    assert matched([card(1), card(2, free=9100)], listing(used, used, RTX, RTX)) == {
        1: ("Vulkan2", Rule.ORDER),
        2: ("Vulkan0", Rule.ORDER),
    }
    assert matched([card(1), card(2)], listing(RTX, RTX, RTX)) == {}


def test_where_two_answers_are_left_there_is_none() -> None:
    assert matched([card(1), card(2)], listing(RTX)) == {}
    noted = (f"{RTX[0]} (NVK AD102)", *RTX[1:])  # one driver lists a card once
    assert matched([card(1)], listing(noted, noted)) == {}
    # as many devices as cards, and one of these has neither the name nor a size: no driver lists them twice
    unread = card(2, "NVIDIA GPU 2684", None)
    assert matched([card(1), unread], listing(RTX, RTX)) == {}
    nameless = ("AMD Radeon Graphics (RADV NEW)", 24560, 24000)
    different = [card(1, "AMD GPU 744C", 24560), card(2, "AMD Radeon PRO W7800", 24560)]
    assert matched(different, listing(nameless, nameless)) == {}


def test_a_card_that_does_not_answer_is_not_listed_either() -> None:
    assert matched([card(1, answers=False), card(2)], listing(RTX)) == {2: ("Vulkan0", Rule.TOTAL)}


def test_a_sleeping_card_has_no_reading_and_still_its_name() -> None:
    asleep = card(1, "NVIDIA GeForce RTX 4070", None)
    devices = listing(RTX, ("NVIDIA GeForce RTX 4070", 12282, 12000))
    assert matched([asleep, card(2, free=23000)], devices) == {1: ("Vulkan1", Rule.NAME), 2: ("Vulkan0", Rule.NAME)}


def test_what_the_driver_keeps_for_itself_is_no_other_memory() -> None:
    """CUDA counts without what the driver holds back: 3 % of a small card."""
    reading = replace(card(1, "AMD GPU 1", 8188), usable_bytes=7780 * MIB)
    assert reading.has_total_of(Listed("CUDA0", "X", 7780 * MIB, 0))
    assert not reading.has_total_of(Listed("CUDA0", "X", 4096 * MIB, 0))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("AMD Radeon RX 7900 XTX (RADV NAVI31)", "Radeon RX 7900 XTX"),
        ("AMD Radeon 780M Graphics (RADV PHOENIX)", "AMD Radeon 780M"),
        ("AMD Radeon Graphics (RADV GFX1201)", ""),
    ],
)
def test_what_drivers_add_to_a_name(one: str, other: str) -> None:
    assert model_name(one) == model_name(other)


def test_addresses_are_compared_as_numbers_and_without_the_function() -> None:
    assert bus_place("00000000:0A:00.0") == bus_place("0000:0a:00.1") == "0000:0a:00"
    assert bus_place("unknown id") is bus_place(None) is None


names = st.sampled_from(
    [
        "NVIDIA GeForce RTX 4070",
        "NVIDIA GeForce RTX 4070 Ti",
        "AMD Radeon RX 7900 XTX",
        "AMD Radeon Graphics",
        "AMD GPU 1",
    ]
)
sizes = st.sampled_from([8192, 12282, 12288, 24560])
frees = st.sampled_from([None, 2000, 2300, 8000])
buses = st.integers(1, 6)
devices_of_any = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "NVIDIA GeForce RTX 4070",
                "NVIDIA GeForce RTX 4070 Ti",
                "AMD Radeon RX 7900 XTX (RADV NAVI31)",
                "AMD Radeon Graphics (RADV GFX1)",
                "AMD Radeon Graphics (RADV PHOENIX)",
                "llvmpipe (LLVM 17)",
                "Intel(R) Arc(tm) B580",
            ]
        ),
        sizes,
        st.sampled_from([2000, 2300, 8000]),
    ),
    max_size=6,
)
addresses_of_any = st.dictionaries(
    st.integers(0, 6).map(lambda n: f"Vulkan{n}"), buses.map(lambda bus: f"0000:{bus:02x}:00.0"), max_size=6
)
cards_of_any = st.lists(
    st.builds(card, buses, names, st.one_of(st.none(), sizes), frees, answers=st.booleans()),
    max_size=6,
    unique_by=lambda one: one.gpu.uuid,
)


@given(cards_of_any, devices_of_any, addresses_of_any)
def test_no_device_is_ever_given_twice_and_none_contradicts_what_is_known(
    cards: list[Card], devices: list[tuple[str, int, int]], addresses: dict[str, str]
) -> None:
    listed = listing(*devices)
    matches = match_devices(cards, listed, addresses)
    given_names = [match.device.name for match in matches.values()]
    assert len(set(given_names)) == len(given_names)
    known = {one.gpu.uuid: one for one in cards}
    names_of_cards = {model_name(one.gpu.name) for one in cards}
    names_of_devices = {model_name(device.text) for device in listed}
    for uuid, match in matches.items():
        assert match.card is known[uuid]
        assert match.device in listed
        assert match.device.vendor is match.card.gpu.gpu_type
        if match.device.address is not None:  # who says where it sits is nobody else
            assert bus_place(match.card.gpu.pci_address) == match.device.address
        elif match.rule is Rule.ADDRESS:
            assert bus_place(match.card.gpu.pci_address) == bus_place(addresses[match.device.name])
            ours, theirs = model_name(match.card.gpu.name), model_name(match.device.text)
            assert ours == theirs or (ours not in names_of_devices - {""} and theirs not in names_of_cards - {""})
    backwards = match_devices(cards[::-1], listed, addresses)
    assert {uuid: match.device for uuid, match in backwards.items()} == {
        uuid: match.device for uuid, match in matches.items()
    }
