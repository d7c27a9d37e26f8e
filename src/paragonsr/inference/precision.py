"""Which floating types a device computes fast in."""

import torch


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is no slower than float32: an AVX2 CPU emulates it, 12 to 50 times as slow."""
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.cuda.is_bf16_supported(including_emulation=False)
