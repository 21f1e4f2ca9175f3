"""NVIDIA's GPUs: NVML, its memory in three ways, its slices, and what the kernel's files say."""
