"""GPUs through PyTorch: a package of that name stands in for it, in a real process of its own."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from launchdeck.domain.detection import Outcome
from launchdeck.domain.gpu import GpuSample, GpuType
from launchdeck.hardware.torch.cuda import TorchCudaDetector
from launchdeck.hardware.torch.rocm import TorchROCmDetector

GIB = 2**30
CUDA, ROCM = "cuda = '12.8'\nhip = None", "cuda = None\nhip: str | None = '6.4.43482'"
LIBRARY = """
    import types
    GPU = dict(
        name="{name}", total_memory=24 * 2**30, major=8, minor=9, is_integrated=0, uuid="{uuid}",
        pci_domain_id=0, pci_bus_id=10, pci_device_id=0,
    )
    cuda = types.SimpleNamespace(
        device_count=lambda: 1, get_device_properties=lambda index: types.SimpleNamespace(**GPU)
    )
"""


@pytest.fixture
def torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a PyTorch: its version file, and its code."""

    def install(version: str | None, code: str) -> None:
        package = tmp_path / "site/torch"
        package.mkdir(parents=True)
        if version is not None:
            (package / "version.py").write_text(version)
        (package / "__init__.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(str(package.parent))
        monkeypatch.setenv("PYTHONPATH", str(package.parent))

    return install


def test_a_cuda_build(torch):
    torch(CUDA, LIBRARY.format(name="NVIDIA RTX 4090", uuid="12345678-9abc-def0-1234-56789abcdef0"))
    detector = TorchCudaDetector()
    (gpu,) = detector.get_gpu_list()
    assert detector.step.outcome is Outcome.FOUND
    assert (gpu.name, gpu.gpu_type, gpu.uuid) == (
        "NVIDIA RTX 4090",
        GpuType.NVIDIA,
        "GPU-12345678-9abc-def0-1234-56789abcdef0",
    )
    assert (gpu.pci_address, gpu.total_memory_bytes) == ("0000:0a:00.0", 24 * GIB)
    assert gpu.compute_capability == (8, 9)
    sample = detector.get_gpu_info(gpu)
    assert sample == GpuSample(sample.sampled_at_s)
    assert TorchROCmDetector().get_gpu_list() == []


def test_a_rocm_build_is_known_by_its_hip_version(torch):
    torch(ROCM, LIBRARY.format(name="AMD Radeon RX 7900 XTX", uuid="61316232-6333-6434-6535-663630373138"))
    detector = TorchROCmDetector()
    (gpu,) = detector.get_gpu_list()
    assert (gpu.gpu_type, gpu.uuid, gpu.compute_capability) == (GpuType.AMD, "GPU-a1b2c3d4e5f60718", None)
    cuda = TorchCudaDetector()
    assert cuda.get_gpu_list() == []
    assert cuda.step.outcome is Outcome.NOT_INSTALLED


@pytest.mark.parametrize("uuid", ["", "not a number", "00000000-0000-0000-0000-000000000000"])
def test_a_rocm_gpu_without_a_uuid_is_known_by_its_address(torch, uuid):
    torch(ROCM, LIBRARY.format(name="AMD Radeon 780M", uuid=uuid))
    (gpu,) = TorchROCmDetector().get_gpu_list()
    assert gpu.uuid == "0000:0a:00.0"


def test_what_was_found_is_kept(torch, tmp_path):
    torch(CUDA, f"open({str(tmp_path / 'asked')!r}, 'a').write('x')" + LIBRARY.replace("\n    ", "\n"))
    detector = TorchCudaDetector()
    assert detector.get_gpu_list() == detector.get_gpu_list()
    assert (tmp_path / "asked").read_text() == "x"
    detector.close()
    assert detector.is_available()
    assert (tmp_path / "asked").read_text() == "xx"


def test_the_memory_is_that_of_all_processes_and_known_for_half_a_minute(torch, clock):
    memory = "    cuda.mem_get_info = lambda index: (13 * 2**30, 24 * 2**30)\n"
    torch(CUDA, LIBRARY.format(name="GPU", uuid="") + memory)
    detector = TorchCudaDetector(clock=clock)
    (gpu,) = detector.get_gpu_list()
    sample = detector.get_gpu_info(gpu)
    assert (sample.used_memory_bytes, sample.free_memory_bytes) == (11 * GIB, 13 * GIB)
    clock.now_s += 31
    assert detector.get_gpu_list() == [gpu]
    assert detector.get_gpu_info(gpu).used_memory_bytes is None


def test_pytorch_is_asked_for_every_gpu_whatever_was_masked(torch, monkeypatch, tmp_path):
    """Which of them are ours is found out once, for all that detectors find."""
    seen = tmp_path / "seen"
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"):
        monkeypatch.setenv(name, "7")
    look = f"    import os; open({str(seen)!r}, 'w').write(repr(sorted(n for n in os.environ if 'DEVICE' in n)))\n"
    torch(CUDA, look + LIBRARY.format(name="GPU", uuid=""))
    assert TorchCudaDetector().is_available()
    assert seen.read_text() == "['CUDA_DEVICE_ORDER']"


BARE = """
    import types
    __version__ = "2.9"
    version = types.SimpleNamespace(hip={hip!r}, cuda=None)
    cuda = types.SimpleNamespace(
        device_count=lambda: 2,
        get_device_properties=lambda index: types.SimpleNamespace(name=f"GPU {{index}}", total_memory=2**34),
        mem_get_info=lambda index: (2**33, 2**34),
    )
"""


@pytest.mark.parametrize(
    ("hip", "kind", "other"),
    [("6.4", TorchROCmDetector, TorchCudaDetector), (None, TorchCudaDetector, TorchROCmDetector)],
)
def test_a_pytorch_that_tells_little_of_itself(torch, hip, kind, other):
    """Without a version file, an address or a UUID."""
    torch(None, BARE.format(hip=hip))
    detector = kind()
    gpus = detector.get_gpu_list()
    assert [(gpu.name, gpu.uuid) for gpu in gpus] == [(f"GPU {at}", f"{kind.gpu_type}-{at}") for at in range(2)]
    assert detector.get_gpu_info(gpus[1]).used_memory_bytes == 2**33
    wrong = other()
    assert not wrong.is_available()
    assert str(wrong.step.reason) == f"PyTorch 2.9 is installed, but built without {other.kind}."


@pytest.mark.parametrize(
    ("code", "words"),
    [("raise ImportError('libcudart.so.12')", "libcudart.so.12"), ("import os; os._exit(3)", "exit status 3"),
     ("import time; time.sleep(60)", "timed out"), ("import os; os._exit(0)", "Expecting value")],
)  # fmt: skip
def test_a_pytorch_that_fails_says_why(torch, code, words):
    torch(CUDA, code)
    detector = TorchCudaDetector(timeout_s=1.0)
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.FAILED
    assert words in str(detector.step.reason)


def test_pytorch_is_never_imported_into_this_process(torch):
    torch(CUDA, LIBRARY.format(name="GPU", uuid=""))
    assert TorchCudaDetector().is_available()
    assert "torch" not in sys.modules


def test_without_pytorch(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    detector = TorchCudaDetector()
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.NOT_INSTALLED
    assert str(detector.step.reason) == "PyTorch is not installed."


@pytest.mark.parametrize("kind", [TorchCudaDetector, TorchROCmDetector])
def test_a_pytorch_for_the_cpu_is_named_and_not_started(torch, kind):
    torch("__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None", "raise SystemExit")
    detector = kind()
    assert detector.get_gpu_list() == []
    assert detector.step.outcome is Outcome.NOT_INSTALLED
    assert str(detector.step.reason) == f"PyTorch 2.13.0+cpu is installed, but built without {kind.kind}."
