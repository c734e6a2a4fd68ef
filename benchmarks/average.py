"""Mean of several base weights of ``patch`` that were trained further from the same ones, beside each of them.

    OMP_NUM_THREADS=1 python -m benchmarks.average RUN_A RUN_B --output DIR

Weights that were trained apart from a common beginning lie in one valley, and their mean is often better than any of
them on data of another kind (Wortsman et al. 2022, arXiv 2203.05482: "model soups"). Printed: loss and AUC-PR over the
points of ``--windows`` held-out synthetic windows of each folder and of the mean. The mean is written in half
precision with the first folder's configuration; its recipe says of which weights it is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from tsad.detectors.patch.crops import Seen, held_out
from tsad.detectors.patch.loading import EARLIER, SHIPPED, WEIGHTS, load_base
from tsad.detectors.patch.model import PatchModel
from tsad.detectors.patch.pretrain import validate, write_base
from tsad.files.hashing import digest_of_file

SEED = (99, 1 << 31)  # of the held-out windows: no training run has drawn them


def mean_of(networks: Sequence[PatchModel]) -> PatchModel:
    """The first network with the mean of all their weights.

    Raises:
        ValueError: networks of different shapes.
    """
    states = [one.state_dict() for one in networks]
    if any({k: t.shape for k, t in s.items()} != {k: t.shape for k, t in states[0].items()} for s in states):
        raise ValueError("The folders hold networks of different shapes: only runs from the same weights have a mean")
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    networks[0].load_state_dict(mean)
    return networks[0]


def write(network: PatchModel, made_of: Sequence[Path], folder: Path) -> None:
    """The mean as a base, its recipe saying of which weights it is made."""
    network.config.recipe = {**network.config.recipe, "mean_of": [digest_of_file(one / WEIGHTS) for one in made_of]}
    write_base(network, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[EARLIER[-1], SHIPPED],
                        help="none: the newest earlier edition and the one that ships")  # fmt: skip
    parser.add_argument("--output", type=Path, help="folder for the mean; none: it is only measured")
    parser.add_argument("--windows", type=int, default=512)
    given = parser.parse_args()
    networks = [load_base(one) for one in given.folders]
    batches = held_out(np.random.default_rng(SEED), given.windows, Seen.by(networks[0].config))
    print(f"{'weights':<40}{'loss':>8}{'AUC-PR':>8}", flush=True)

    def tell(name: str, network: PatchModel) -> None:
        figures = validate(network, batches)
        print(f"{name:<40}{figures['validation_loss']:>8.4f}{figures['validation_auc_pr']:>8.4f}", flush=True)

    for folder, network in zip(given.folders, networks, strict=True):
        tell(str(folder)[-39:], network)
    if len(networks) > 1:
        mean = mean_of(networks)
        tell("their mean", mean)
        if given.output:
            write(mean, given.folders, given.output)
            print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
