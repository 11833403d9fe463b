"""What a device computes fast, looked up from what it says of itself and never from a timing."""

from __future__ import annotations

import torch


def fast_bfloat16(device: torch.device | str) -> str | None:
    """Name what makes a device multiply bfloat16 faster than float32; null if nothing does.

    On a processor that is an instruction set, `avx512_bf16` or `amx_bf16`; on NVIDIA's GPUs their compute capability,
    from 8.0 on.
    """
    device = torch.device(device)
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"compute capability {major}.{minor}" if major >= 8 else None
    if device.type != "cpu":
        return None
    if torch.cpu._is_amx_tile_supported():
        return "amx_bf16"
    return "avx512_bf16" if torch.cpu._is_avx512_bf16_supported() else None
