"""Where a network runs, and in which precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from phenobench.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device of a name; "auto" is CUDA, else Apple's MPS, else the CPU.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"'{name}' is no device; use auto, cpu, cuda, cuda:1 or mps") from None
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(device.type, False) or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise InputError(f"there is no device '{name}' here; use --device auto")
    return device


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What a network computes matrix products in: bfloat16 where a card says so and the device is made for it.

    Without instructions for bfloat16 (AVX-512-BF16 or AMX on a CPU) it is slower than float32, not faster.
    """
    if precision != "bfloat16":
        return torch.float32
    if device.type == "cuda":
        fit = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        fit = device.type == "cpu" and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if fit else torch.float32
