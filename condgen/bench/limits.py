"""What the machine can do at most, measured, and what works ask of it."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from condgen.bench.rounds import Work, finish

DTYPES = (torch.float32, torch.bfloat16)
SECONDS = 0.25
"""How long each kernel is repeated; the best repetition counts."""


def machine() -> dict[str, Any]:
    """Name what figures are measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "").split()
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16": sorted(flag for flag in flags if flag in ("avx512_bf16", "amx_bf16", "bf16")),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def peaks(device: torch.device | str = "cpu", seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """Measure the rates of large products of matrices and 3x3 convolutions, in GFLOP/s by type and kernel."""
    place = torch.device(device)
    sizes, batch = ((512, 1024), 32) if place.type == "cpu" else ((4096, 8192), 256)
    found: dict[str, dict[str, float]] = {}
    with torch.no_grad():
        for dtype in DTYPES:
            products = [fastest(*product(size, dtype, place), place, seconds) for size in sizes]
            rates = {"matmul": max(products), "conv": fastest(*convolution(batch, dtype, place), place, seconds)}
            found[str(dtype).removeprefix("torch.")] = {name: round(rate, 1) for name, rate in rates.items()}
    return found


def product(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], object], float]:
    """Return a product of square matrices, and its operations in GFLOP."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return lambda: torch.mm(a, b), 2 * size**3 / 1e9


def convolution(batch: int, dtype: torch.dtype, device: torch.device) -> tuple[Callable[[], object], float]:
    """Return a 3x3 convolution of 128 channels and 32x32 pixels, channels last, and its operations in GFLOP."""
    x = torch.randn(batch, 128, 32, 32, device=device).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3, device=device).to(dtype, memory_format=torch.channels_last)
    return lambda: F.conv2d(x, weight, padding=1), 2 * batch * 32 * 32 * 128 * 128 * 9 / 1e9


def fastest(kernel: Callable[[], object], gflop: float, device: torch.device, seconds: float) -> float:
    """Return the highest rate of a kernel's repetitions, in GFLOP/s, after one that is not timed."""
    kernel()
    finish(device)
    best, until = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < until:
        start = time.perf_counter()
        kernel()
        finish(device)
        best = max(best, gflop / (time.perf_counter() - start))
    return best


class Operations(TorchDispatchMode):
    """Counts the operations of products and convolutions by torch's own formulas.

    `FlopCounterMode` counts by module, too, and its hooks refuse `torch.autograd.grad`, which gradient penalties take.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call, and count; what has no formula is counted by what it is made of."""
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def gflop_per_image(work: Work, steps: int = 1) -> float:
    """Count the operations of products and convolutions, forward and backward, over some steps of a work.

    Three times, of which the least counts: a step now and then does more, such as looking for a collapse.
    """
    return min(counted(work, steps) for _ in range(3))


def counted(work: Work, steps: int) -> float:
    """Count once."""
    images = total = 0
    for _ in range(steps):
        counter = Operations()
        images += work.block(0.0, counter).images
        total += counter.total
    return total / images / 1e9


def peak_memory(device: torch.device | str = "cpu") -> int:
    """Return the most bytes that this process has held so far: of the device's memory, or of the machine's."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # what Linux says by `getrusage` begins with what the process that started this one held
        most = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(most.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def pin(threads: int) -> None:
    """Compute with so many threads, on as many cores of this process."""
    torch.set_num_threads(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
