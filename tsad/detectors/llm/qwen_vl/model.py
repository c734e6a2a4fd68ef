"""Qwen3-VL and Qwen3.5 of transformers with two things of ours, and the names in the state dict as they are published.

The patch embedding is the matrix product that it is, and the loss is taken where an answer is taught alone.
"""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import CausalLMOutputWithPast

from tsad.core.errors import WeightsError
from tsad.detectors.llm.loss import answer_loss


class PatchProjection(nn.Conv3d):
    """A convolution whose kernel is as large as its input: one matrix product per patch, the same numbers.

    torch from 2.9 on takes a slow path for such a ``Conv3d`` (transformers has an opt-in fusion against that, which
    registers itself for the whole process and renames the weights). Names and shapes in the state dict stay.
    """

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """[N, C, T, P, P] patches -> [N, D, 1, 1, 1]."""
        made = nn.functional.linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return made[..., None, None, None]


def project_patches(network: Any) -> None:
    """Make the patch embedding a matrix product, in place, with the parameters that it has."""
    embedding = network.model.visual.patch_embed
    old = embedding.proj
    if type(old) is nn.Conv3d and old.kernel_size == old.stride and set(old.padding) == {0} and old.groups == 1:
        kernel: Any = old.kernel_size
        new = PatchProjection(old.in_channels, old.out_channels, kernel, kernel, device="meta")
        new.weight, new.bias = old.weight, old.bias
        embedding.proj = new


@lru_cache(None)
def classes(config: str, network: str, since: str) -> tuple[Any, Any]:
    """Configuration and network class, by their names in transformers and the version that has them first.

    The network is the class of transformers, but for the patch embedding, and but for its loss: with labels, logits are
    made where something is taught, and only the loss comes back.

    Raises:
        WeightsError: the installed transformers does not have them yet.
    """
    base = getattr(transformers, network, None)
    if base is None:
        raise WeightsError(
            f"The checkpoint is a {network}, which transformers {transformers.__version__} does not have",
            f"Run pip install 'transformers>={since}'.",
        )

    def prepared(self: Any, given: Any) -> None:
        base.__init__(self, given)
        project_patches(self)

    @wraps(base.forward)  # generate reads the signature
    def forward(self: Any, input_ids: Any = None, labels: Any = None, **given: Any) -> Any:
        if labels is None:
            return base.forward(self, input_ids=input_ids, **given)
        hidden = self.model(input_ids=input_ids, **given | {"use_cache": False})[0]
        return CausalLMOutputWithPast(loss=answer_loss(self.lm_head, hidden, labels))

    # The class's own name: it is what a saved config.json says of its architecture.
    made = type(network, (base,), {"__init__": prepared, "forward": forward, "__doc__": base.__doc__})
    return getattr(transformers, config), made
