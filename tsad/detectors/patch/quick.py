"""The network's layers computed by oneDNN where it scores on a CPU: the same weights in less time.

torch leaves matrix products to MKL, which uses half the vector width of AMD's processors, and one-dimensional
convolutions to a plain layout that is turned around at each of them. oneDNN, which torch carries too, uses the whole
width. A window's logits stay the same to the bit whatever stands beside it in the batch; beside torch's own layers
they differ by the order of sums, about 1e-5. ``python -m benchmarks.engines`` measures both.
"""

from __future__ import annotations

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tsad.detectors.patch.model import Decoder, PatchModel

PROCESSORS = ("x86_64", "AMD64")  # elsewhere torch's own choice was not measured against oneDNN's


class QuickLinear(nn.Module):
    """A linear layer. [..., I] float32 -> [..., O]."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        return torch.ops.mkldnn._linear_pointwise(flat, self.weight, self.bias, "none", [], "").view(*x.shape[:-1], -1)


class QuickConv(nn.Module):
    """A convolution over points, its channels innermost in memory. [B, I, L] float32 -> [B, O, L']."""

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self.stride, self.padding = (1, *layer.stride), (0, *(int(n) for n in layer.padding))

    def forward(self, x: Tensor) -> Tensor:
        wide = x[:, :, None, :].contiguous(memory_format=torch.channels_last)
        kernel = self.weight[:, :, None, :].contiguous(memory_format=torch.channels_last)
        return torch.mkldnn_convolution(wide, kernel, self.bias, self.padding, self.stride, (1, 1), 1)[:, :, 0, :]


class QuickDecoder(nn.Module):
    """The decoder of quick layers: what it joins has the channels innermost already."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.size, self.unpatch, self.mix = decoder.size, decoder.unpatch, decoder.mix

    def forward(self, tokens: Tensor, points: Tensor) -> Tensor:
        wide = self.unpatch(tokens).view(len(tokens), -1, self.size)
        return F.silu(self.mix(torch.cat((wide, points.transpose(1, 2)), 2).transpose(1, 2)))


def quick(network: PatchModel) -> PatchModel:
    """The network with its layers put by quick ones, in place, where oneDNN is there; else as it came.

    Names of weights stay. Not for training: these layers have no gradient.
    """
    return network if not suits(network) else _put(network)


def suits(network: PatchModel) -> bool:
    """Whether oneDNN computes single precision for this network on this machine."""
    first = next(network.parameters())
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and platform.machine() in PROCESSORS and first.device.type == "cpu" and first.dtype == torch.float32


def _put(network: PatchModel) -> PatchModel:
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, QuickLinear(layer))
            elif isinstance(layer, nn.Conv1d):
                setattr(module, name, QuickConv(layer))
    network.decoder = QuickDecoder(network.decoder)  # type: ignore[assignment]
    return network
