"""Figures of SR images against HR images, by one protocol."""

from paragonsr.metrics.psnr import psnr
from paragonsr.metrics.ssim import ssim

__all__ = ["psnr", "ssim"]
