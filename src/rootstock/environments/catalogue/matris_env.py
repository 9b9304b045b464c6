# /// script
# requires-python = ">=3.12"
# dependencies = ["matris==1.0.0", "ase>=3.23", "torch>=2.11"]
# [tool.rootstock]
# licence = "BSD-3-Clause"
# paper = "arXiv:2603.02002"
# cache = "home/.cache/matris"
# [tool.rootstock.level_of_theory]
# default = "PBE+U"
# matris_10m_oam = "PBE+U"
# matris_10m_omat = "PBE+U (OMat24)"
# matris_10m_mp = "PBE+U"
# matris_4m_matpes_pbev2 = "PBE"
# matris_4m_matpes_r2scanv2 = "r2SCAN"
# ///
"""MatRIS: materials, with magnetic moments. float32.

Paper: arXiv:2603.02002. Licence: BSD-3-Clause. Weights: home/.cache/matris.
"""

MODELS = {
    "": "matris_10m_oam",
    "matris_10m_oam": "OMat24 and sAlex and MPtrj",
    "matris_10m_omat": "OMat24",
    "matris_10m_mp": "MPtrj",
    "matris_4m_matpes_pbev2": "MatPES PBE",
    "matris_4m_matpes_r2scanv2": "MatPES r2SCAN",
}


def setup(model: str = "", device: str = "cpu", task: str = "efsm", **options):
    """Return MatRIS' own calculator."""
    from matris.applications.base import MatRISCalculator

    options = {"mode": "torch", **options}
    return MatRISCalculator(model=model or "matris_10m_oam", task=task, device=device, **options)
