"""Make a small MACE with random weights: ``make_random_mace.py FILE CHANNELS``.

Runs inside MACE's environment. Real code, useless numbers, for copper and silver.
"""

import sys

import numpy as np
import torch
from mace import modules  # before e3nn 0.4.4, which a newer PyTorch does not load alone

from e3nn import o3  # isort: skip

file, channels = sys.argv[1:]
torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
model = modules.ScaleShiftMACE(
    r_max=4.0,
    num_bessel=4,
    num_polynomial_cutoff=5,
    max_ell=2,
    interaction_cls=block,
    interaction_cls_first=block,
    num_interactions=2,
    num_elements=2,
    hidden_irreps=o3.Irreps(f"{channels}x0e + {channels}x1o"),
    MLP_irreps=o3.Irreps("8x0e"),
    gate=torch.nn.functional.silu,
    atomic_energies=np.array([-1.0, -2.0]),
    avg_num_neighbors=8,
    atomic_numbers=[29, 47],
    correlation=2,
    radial_type="bessel",
    atomic_inter_scale=1.0,
    atomic_inter_shift=0.0,
)
torch.save(model, file)
