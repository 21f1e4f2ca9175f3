"""What the system and the makers of GPUs say through any engine: loaders, drivers, CUDA, ROCm, Python."""

from __future__ import annotations

from launchdeck.domain.errors import Cause, Failure, Fix
from launchdeck.domain.text import Message
from launchdeck.engines.failure_rules import hint, rule
from launchdeck.engines.fixes import AS_MANY_AS_FIT, RUN_ON_CPU

_WORK_AGAIN = Message(
    "Start the model again. If it fails again, use a newer engine or driver; if other models fail, too, restart the "
    "computer: the kernel's log may say what is wrong with the GPU."
)
PORT_TAKEN = Failure(
    Cause.PORT_TAKEN,
    Message("The port was taken by another program."),
    Message("Try again: another port will be used."),
    fixes=(Fix(Message("Use another port"), ()),),  # every launch takes one that is free
)
GPU_FULL = Failure(
    Cause.OUT_OF_MEMORY,
    Message("The GPU ran out of memory while {stage}."),
    Message("Use fewer layers or less context, or stop what else runs there."),
    fixes=(AS_MANY_AS_FIT,),
)
RAM_FULL = Failure(
    Cause.OUT_OF_MEMORY,
    Message("There was not enough RAM while {stage}."),
    Message("Free some memory, or use less context or a smaller model."),
)
_GPU_BROKEN = Failure(
    Cause.GPU_LOST,
    Message("The GPU does not work any more: {reason}."),
    Message("The kernel's log may say why. Restarting the computer usually brings a GPU back."),
)
_NO_GPU = Failure(
    Cause.GPU_LOST,
    Message("The engine finds no GPU: {reason}."),
    Message(
        "See that the driver is loaded and that this user may use the GPU (a container has to be given it), or run on "
        "the CPU."
    ),
    fixes=(RUN_ON_CPU,),
)
_GPU_BUSY = Failure(
    Cause.START_FAILED,
    Message("The GPU is busy or unavailable."),
    Message(
        "Another program may have it for itself: stop that, or choose another GPU. If there is none, restart the "
        "computer."
    ),
)
# It may be the engine, the driver or the device: nobody can tell by these words.
_GPU_WORK_FAILED = Failure(Cause.CRASHED, Message("What the engine computed on the GPU failed: {reason}."), _WORK_AGAIN)
_NOT_BUILT_FOR_GPU = Failure(
    Cause.ENGINE_UNSUITED,
    Message("This engine was not built for this GPU."),
    Message("Use an engine built for it, or the CPU."),
    fixes=(RUN_ON_CPU,),
)
_NO_KERNELS_FOR_GPU = Failure(
    Cause.ENGINE_UNSUITED,
    Message("ROCm's rocBLAS has no kernels for this GPU ({gpu})."),
    Message("Install a ROCm that knows this GPU, use another engine (Vulkan), or run on the CPU."),
    fixes=(RUN_ON_CPU,),
)
_DRIVER_TOO_OLD = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The GPU's driver is too old for this engine."),
    Message("Install a newer driver, use an engine built for an older CUDA, or run on the CPU."),
    fixes=(RUN_ON_CPU,),
)
_DRIVER_HAS_CUDA = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The GPU's driver is too old for this engine: it can do CUDA {major}.{minor}."),
    Message("Install a newer driver, use an engine built for an older CUDA, or run on the CPU."),
    fixes=(RUN_ON_CPU,),
)
_LIBRARY_MISSING = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The engine needs the library {library}, which is not installed here or cannot be found."),
    Message("Install the package that has it, or use another build of the engine."),
)
_DRIVER_MISSING = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The engine needs {library}, which comes with NVIDIA's driver."),
    Message("Install NVIDIA's driver (a container has to be given the GPU), or use an engine without CUDA."),
)
_CUDA_MISSING = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The engine needs {library} of CUDA, which is not installed here or cannot be found."),
    Message("Install CUDA of the same main version, or use a build of the engine that brings it along."),
)
_ROCM_MISSING = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The engine needs {library} of ROCm, which is not installed here or cannot be found."),
    Message("Install ROCm of the same main version, or use a build of the engine that brings it along."),
)
_SYSTEM_TOO_OLD = Failure(
    Cause.ENGINE_UNSUITED,
    Message("The engine was built for a newer system: it needs {version}."),
    Message("Use a build for this system, or build the engine here."),
)
_LIBRARIES_DIFFER = Failure(
    Cause.ENGINE_MISSING,
    Message("The engine's parts do not belong together: {library} was built for another version of what it uses."),
    Message("Install it again, in an environment of its own."),
)
_MODULE_MISSING = Failure(
    Cause.ENGINE_MISSING,
    Message("The engine's installation is not complete: {module} is missing."),
    Message("Install it again, in an environment of its own."),
)
_SHARED_MEMORY_FULL = Failure(
    Cause.DISK_FULL,
    Message("There is too little room in /dev/shm, where the engine's processes talk to each other."),
    Message("Give it more room (in a container: --shm-size, or --ipc=host)."),
)
_DISK_FULL = Failure(
    Cause.DISK_FULL, Message("The disk is full."), Message("Free some room, then start the model again.")
)
_TOO_MANY_THREADS = Failure(
    Cause.START_FAILED,
    Message("The system did not let the engine start its threads."),
    Message("Raise the limits of processes (ulimit -u, the unit's TasksMax), or stop other programs."),
)

# `cudaGetErrorString` and `hipGetErrorString` after "CUDA error: ", "ROCm error: " or "HIP error: ".
_OF_GPU = r"[A-Z]\w+ error: "
_LIBRARY = r"(?P<library>%s[\w.+-]*\.so[\w.]*): cannot open shared object file"
COMMON_RULES = (
    rule(_GPU_BROKEN, "uncorrectable ECC error", _OF_GPU + r"(?P<reason>uncorrectable ECC error encountered)"),
    rule(_GPU_BROKEN, "error: unknown error", _OF_GPU + r"(?P<reason>unknown error)"),
    hint(_NO_GPU, "-capable device is detected", r"(?P<reason>no \w+-capable device is detected)"),
    rule(_GPU_BUSY, "busy or unavailable", _OF_GPU + r"CUDA-capable device\(s\) is/are busy or unavailable"),
    rule(_GPU_WORK_FAILED, "unspecified launch failure", _OF_GPU + r"(?P<reason>unspecified launch failure)"),
    rule(_GPU_WORK_FAILED, "illegal memory access", _OF_GPU + r"(?P<reason>an illegal memory access was encountered)"),
    rule(_GPU_WORK_FAILED, "ErrorDeviceLost", r"(?P<reason>vk::.*ErrorDeviceLost)"),
    rule(_GPU_WORK_FAILED, "HW Exception by GPU", r"HW Exception by GPU node-\d+ .* reason ?: ?(?P<reason>GPU Hang)"),
    rule(GPU_FULL, "error: out of memory", _OF_GPU + r"out of memory"),
    rule(_NOT_BUILT_FOR_GPU, "no kernel image is available", _OF_GPU + r"no kernel image is available"),
    rule(_NOT_BUILT_FOR_GPU, "invalid device function", _OF_GPU + r"invalid device function"),
    rule(_NO_KERNELS_FOR_GPU, "TensileLibrary", r"rocBLAS error: Cannot read .* for GPU arch : (?P<gpu>\w+)"),
    hint(_DRIVER_TOO_OLD, "CUDA driver version is insufficient for CUDA runtime version"),
    rule(_DRIVER_TOO_OLD, "PTX was compiled with an unsupported toolchain"),
    rule(
        _DRIVER_HAS_CUDA,
        "driver on your system is too old",
        r"driver on your system is too old \(found version (?P<major>\d+)0(?P<minor>\d)0\)",
    ),
    hint(_DRIVER_MISSING, "libcuda.so", _LIBRARY % r"libcuda\b"),
    hint(_CUDA_MISSING, "libcu", _LIBRARY % "libcu(?!rl)"),
    hint(_ROCM_MISSING, "libhip", _LIBRARY % "libhip"),
    hint(_ROCM_MISSING, "libamdhip", _LIBRARY % "libamdhip"),
    hint(_LIBRARY_MISSING, "cannot open shared object file", _LIBRARY % "lib"),
    rule(_SYSTEM_TOO_OLD, "' not found (required by", r"version `(?P<version>\w+[\d.]+)' not found \(required by"),
    hint(_LIBRARIES_DIFFER, "undefined symbol", r"(?P<library>[\w.+-]+\.so[\w.]*): undefined symbol"),
    hint(_MODULE_MISSING, "ModuleNotFoundError", r"No module named '(?P<module>[^']+)'"),
    rule(_SHARED_MEMORY_FULL, "shared memory segment /dev/shm"),
    hint(_DISK_FULL, "No space left on device"),
    rule(RAM_FULL, "std::bad_alloc"),
    hint(_TOO_MANY_THREADS, "what():  Resource temporarily unavailable"),
)
