"""What the machine can do: device, precision, compilation, memory, peak FLOP/s."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

# Dense bfloat16 FLOP/s, without sparsity, from the makers' data sheets.
PEAK_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 5090": 209e12,
    "RTX 4090": 165e12,
    "RTX 4080": 97e12,
    "RTX 3090": 71e12,
    "T4": 65e12,  # float16
}


@dataclass(frozen=True)
class Machine:
    """The device of a run and the precision of its matrix products."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self):
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def inference_dtype(self, dtype: str = "auto", sequences: int = 1) -> torch.dtype:
        """auto: on a CPU float16 for one sequence (see LowPrecisionLinear), else as in training."""
        if dtype != "auto":
            return getattr(torch, dtype)
        capability = torch.backends.cpu.get_cpu_capability()
        if self.device.type == "cpu" and sequences == 1 and capability in ("AVX2", "AVX512"):
            return torch.float16
        return self.dtype

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def name(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "mps":
            return "Apple GPU"
        cores = torch.get_num_threads()
        return f"{platform.processor() or platform.machine()} CPU, {cores} threads"

    def peak_flops(self) -> float | None:
        """Peak FLOP/s of the matrix products, if it is known."""
        if self.device.type != "cuda" or self.dtype == torch.float32:
            return None
        name = torch.cuda.get_device_name(self.device)
        if "Laptop" in name:
            return None
        found = (f for part, f in PEAK_FLOPS.items() if re.search(rf"\b{part}\b", name))
        return next(found, None)

    def free_bytes(self) -> int:
        """Memory that is still available without swapping."""
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            held = torch.cuda.memory_reserved(self.device)
            return free + held - torch.cuda.memory_allocated(self.device)
        return min([psutil.virtual_memory().available, *_cgroup_free()])

    def used_bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_rss_bytes()


def _cgroup_free() -> list[int]:
    """What a container's memory limit leaves, if it has one."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        facts = Path("/sys/fs/cgroup/memory.stat").read_text().split()
    except OSError:
        return []
    cached = int(dict(zip(facts[::2], facts[1::2], strict=False)).get("inactive_file", 0))
    return [] if limit == "max" else [max(0, int(limit) - used + cached)]


def choose(device: str = "auto", dtype: str = "auto") -> Machine:
    """The machine with this device and precision; ValueError if it has no such device."""
    if device == "auto":
        device = "cpu"
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(f"`device` {device!r} is unknown: use cpu, cuda, cuda:1 or mps") from None
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            has = f"has {count} of them" if count else "has no CUDA GPU that PyTorch can use"
            raise ValueError(f"`device` {device}: this machine {has}; use `device` cpu or auto")
    elif chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("`device` mps: this machine has no Apple GPU; use `device` cpu or auto")
    elif chosen.type not in ("cpu", "mps"):
        raise ValueError(f"`device` {device!r} is not supported: use cpu, cuda, cuda:1 or mps")
    return Machine(chosen, precision(chosen, dtype))


def precision(device: torch.device, dtype: str) -> torch.dtype:
    """bfloat16 where the hardware multiplies it fast; float16 on older GPUs; else float32."""
    if dtype != "auto":
        return getattr(torch, dtype)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if device.type == "cpu" and cpu_multiplies_bfloat16():
        return torch.bfloat16
    return torch.float32


def cpu_multiplies_bfloat16() -> bool:
    """AVX-512 BF16, AMX, or Arm's BF16: anything less is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))


def compiler_problem(device: torch.device) -> str | None:
    """Why torch.compile cannot work there, or None if it compiled a tiny function."""
    if device.type == "mps":
        return "it is not mature on Apple GPUs"
    if os.environ.get("TORCH_COMPILE_DISABLE") == "1":
        return "TORCH_COMPILE_DISABLE is set"
    try:
        torch.compile(_double, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:  # whatever a missing or broken compiler raises, in its first line
        return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return None


def _double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)  # every device


def random_state(device: torch.device) -> dict:
    """PyTorch's generators of the CPU and of `device`, as tensors that load without pickle."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def restore_random_state(state: dict, device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


def repeatable(device: torch.device) -> None:
    """Ask for kernels that give the same sums every time, where PyTorch has them.

    CPU kernels do so anyway, as long as the number of threads is the same.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False


def peak_rss_bytes() -> int:
    """Peak memory of this process."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
