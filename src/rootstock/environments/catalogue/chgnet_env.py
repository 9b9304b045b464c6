# /// script
# requires-python = ">=3.10"
# dependencies = ["chgnet==0.4.2", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause (LBNL)"
# paper = "10.1038/s42256-023-00716-3"
# cache = "in the wheel"
# ///
"""CHGNet: energies, forces, stresses and magnetic moments for most of the periodic table.

Paper: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Licence: BSD-3-Clause (LBNL).
Weights: shipped in the wheel. float32. Energies of 0.3.0 include MP2020 corrections.
"""

MODELS = {
    "": "CHGNet 0.3.0, the package's default",
    "0.3.0": "PBE/PBE+U with MP2020 corrections",
    "0.2.0": "the weights of the paper",
    "r2scan": "r2SCAN",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return CHGNet's own calculator; `options` are its own, such as return_site_energies."""
    if model not in MODELS:
        raise ValueError(f"CHGNet has no model {model!r}; it has {', '.join(filter(None, MODELS))}")
    from chgnet.model import CHGNet, CHGNetCalculator

    network = CHGNet.load(model_name=model or "0.3.0", use_device=device, verbose=False)
    return CHGNetCalculator(network, use_device=device, **options)
