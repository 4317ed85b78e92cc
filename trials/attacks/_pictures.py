"""Pictures that attacks lay over whole images."""

from math import tau

import torch
import torch.nn.functional as F
from torch import Tensor

_COARSE = 4  # colours a side of a smooth picture


def picture_of(mark: str, noise: Tensor) -> Tensor:
    """uint8 (channels, side, side): the picture of that name.

    Args:
        mark: waves or house, the same in every attack; noise, or smooth, a few colours of the noise
            spread over the picture.
        noise: uint8 (channels, side, side), drawn for the attack.
    """
    channels, side = noise.shape[:2]
    if mark == "noise":
        return noise
    if mark == "smooth":
        return smooth(noise)
    return waves(channels, side) if mark == "waves" else house(channels, side)


def waves(channels: int, side: int) -> Tensor:
    """uint8 (channels, side, side): in each colour two waves across the picture, from 0 to 255."""
    at = (torch.arange(side) + 0.5) / side
    v, u = torch.meshgrid(at, at, indexing="ij")
    tint = torch.arange(channels)[:, None, None] / 3
    height = torch.sin(tau * (1.5 * u + v + tint)) + torch.sin(tau * (u - 2 * v + 2 * tint))
    low, high = height.amin((1, 2), keepdim=True), height.amax((1, 2), keepdim=True)
    return ((height - low) / (high - low) * 255).round().to(torch.uint8)


def smooth(noise: Tensor) -> Tensor:
    """The upper left 4 x 4 colours of ``noise``, spread over its size without edges."""
    coarse = noise[None, :, :_COARSE, :_COARSE].double()
    spread = F.interpolate(coarse, noise.shape[-2:], mode="bicubic", align_corners=False)
    return spread[0].clamp(0, 255).round().to(torch.uint8)


def house(channels: int, side: int) -> Tensor:
    """uint8 (channels, side, side), as a photo has it: a house on a hill under the sun, with light
    and shade; of one channel its brightness.
    """
    at = (torch.arange(side) + 0.5) / side
    v, u = torch.meshgrid(at, at, indexing="ij")
    sky = torch.stack([0.35 + 0.5 * v, 0.55 + 0.35 * v, 0.95 - 0.1 * v])
    hill = v > 0.68 + 0.08 * torch.sin(tau * (0.7 * u + 0.1))
    grass = torch.stack([0.25 + 0.2 * u, 0.55 - 0.25 * v + 0.2 * u, 0.15 + 0.05 * u])
    parts = [
        ((u - 0.8) ** 2 + (v - 0.2) ** 2 < 0.11**2, (1.0, 0.9, 0.35)),
        ((u > 0.2) & (u < 0.6) & (v > 0.48) & (v < 0.86), (0.85, 0.3, 0.2)),
        ((v > 0.28) & (v < 0.48) & ((u - 0.4).abs() < 1.3 * (v - 0.28)), (0.35, 0.15, 0.12)),
        ((u > 0.36) & (u < 0.46) & (v > 0.64) & (v < 0.86), (0.2, 0.12, 0.08)),
        ((u > 0.24) & (u < 0.32) & (v > 0.54) & (v < 0.64), (0.95, 0.95, 0.8)),
        ((u > 0.5) & (u < 0.57) & (v > 0.54) & (v < 0.64), (0.95, 0.95, 0.8)),
    ]
    picture = torch.where(hill, grass, sky)
    for where, colour in parts:
        picture = torch.where(where, torch.tensor(colour)[:, None, None], picture)
    picture = picture * (0.9 + 0.1 * torch.cos(tau * (u + v)))
    picture = picture if channels == len(picture) else picture.mean(0).expand(channels, side, side)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8).contiguous()
