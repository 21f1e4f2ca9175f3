"""What a GPU's name tells where neither its driver nor a recorded inventory does: the architecture it is built on.

Sources: NVIDIA's table of CUDA GPUs and compute capabilities; AMD's ROCm tables of GPUs and their LLVM targets.
"""

from __future__ import annotations

import re

from launchdeck.domain.gpu import Gpu, GpuType

# The first that is found in the name counts: longer names stand before those that they contain.
_CAPABILITIES = tuple(
    (re.compile(pattern, re.IGNORECASE), capability)
    for pattern, capability in (
        (r"\b(B200|GB200|B100)\b", (10, 0)),
        (r"\b(B300|GB300)\b", (10, 3)),
        (r"\bGB10\b", (12, 1)),
        (r"\bRTX (PRO \d{3,4}\b.*Blackwell|50[5-9]0)|\bBlackwell\b", (12, 0)),
        (r"\b(H100|H200|H800|H20|GH200)\b", (9, 0)),
        (r"\b(RTX 40[5-9]0|L40S?|L4|L20)\b|\bRTX \d{4} Ada\b|\bAda Generation\b", (8, 9)),
        (r"\b(RTX 30[5-9]0|A10G?|A16|A40|A2|RTX A\d{4})\b", (8, 6)),
        (r"\b(A100|A30|A800)\b", (8, 0)),
        (r"\b(RTX 20[6-8]0|GTX 16[356]0|T4|T4G|T1000|T1200|T600|T400)\b|\bQuadro RTX\b|\bTITAN RTX\b", (7, 5)),
        (r"\bV100S?\b|\bTITAN V\b|\bQuadro GV100\b", (7, 0)),
        (r"\b(P100|GP100)\b", (6, 0)),
        (r"\b(GTX 10[1-8]0|GT 1030|P40|P4|P6|MX[123]\d0)\b|\bTITAN X[pP]\b|\bQuadro P\d", (6, 1)),
        (r"\b(GTX 9[5-8]0|M60|M40|M10|M4)\b|\bGTX TITAN X\b|\bQuadro M\d", (5, 2)),
        (r"\b(K80|K40|K20)\b", (3, 7)),
    )
)
_TARGETS = tuple(
    (re.compile(pattern, re.IGNORECASE), target)
    for pattern, target in (
        (r"\bMI35[05]X?\b", "gfx950"),
        (r"\bMI3(00|25)[XA]?\b", "gfx942"),
        (r"\bMI2[15]0X?\b", "gfx90a"),
        (r"\bMI100\b", "gfx908"),
        (r"\b(MI50|MI60)\b|\bRadeon (Pro )?VII\b", "gfx906"),
        (r"\b(RX 9070|R9700|R9600)", "gfx1201"),
        (r"\bRX 9060", "gfx1200"),
        (r"\b(8060S|8050S)\b|\bStrix Halo\b", "gfx1151"),
        (r"\b(890M|880M)\b", "gfx1150"),
        (r"\b(780M|760M|740M)\b", "gfx1103"),
        (r"\b(RX 7600|W7600|W7500)", "gfx1102"),
        (r"\b(RX 7[78]00|W7700)", "gfx1101"),
        (r"\b(RX 7900|W7900|W7800)", "gfx1100"),
        (r"\b(RX 6600|W6600)", "gfx1032"),
        (r"\bRX 6[67]\d0", "gfx1031"),
        (r"\b(RX 6[89]\d0|W6800|V620)", "gfx1030"),
        (r"\bRX 5[5-7]00", "gfx1010"),
    )
)


def compute_capability(gpu: Gpu) -> tuple[int, int] | None:
    """What the driver tells, or else the name of an NVIDIA GPU; None where neither does."""
    if gpu.compute_capability is not None or gpu.gpu_type is not GpuType.NVIDIA:
        return gpu.compute_capability
    return next((capability for pattern, capability in _CAPABILITIES if pattern.search(gpu.name)), None)


def gfx_target(gpu: Gpu) -> str | None:
    """The same of an AMD GPU."""
    if gpu.gfx_target is not None or gpu.gpu_type is not GpuType.AMD:
        return gpu.gfx_target
    return next((target for pattern, target in _TARGETS if pattern.search(gpu.name)), None)
