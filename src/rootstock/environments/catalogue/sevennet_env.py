# /// script
# requires-python = ">=3.10"
# dependencies = ["sevenn==0.13.0", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT (the package)"
# paper = "10.1021/acs.jctc.4c00190"
# cache = "in the wheel; others: home/.cache/sevennet"
# ///
"""SevenNet: an equivariant message-passing potential that parallelises over space.

Paper: Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024). Licence: MIT (the package).
Weights: four ship in the wheel; the others are downloaded. float32. The multi-fidelity models need
to be told which functional: setup_kwargs={"modal": "PBE"}.
"""

MODELS = {
    "": "7net-0",
    "7net-0": "11 July 2024, MPtrj",
    "7net-0_22may2024": "22 May 2024, MPtrj",
    "7net-l3i5": "larger and more accurate, MPtrj",
    "7net-mf-0": 'multi-fidelity; modal "PBE" or "R2SCAN"',
    "7net-mf-ompa": 'downloaded; modal "mpa" or "omat24"',
    "7net-omat": "downloaded",
    "7net-omni": "downloaded; modal required",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return SevenNet's own calculator for a name or a checkpoint file."""
    from sevenn.calculator import SevenNetCalculator

    _download_into_cache()
    return SevenNetCalculator(model or "7net-0", device=device, **options)


def _download_into_cache():
    """Let weights land in the cache, where SevenNet looks too, and not in its installed package."""
    import os

    from sevenn import _const, util

    download = util.download_checkpoint

    def into_cache(path, url):
        cache = os.path.expanduser("~/.cache/sevennet")
        return download(path.replace(_const._prefix, cache), url)

    util.download_checkpoint = into_cache
