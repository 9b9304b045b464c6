# /// script
# requires-python = ">=3.10"
# dependencies = ["ase>=3.23"]
# ///
"""A model that returns zeros at once: the time of a call is then overhead only."""


def setup(model: str = "", device: str = "cpu"):
    """Return a calculator of preallocated zeros."""
    import numpy as np
    from ase.calculators.calculator import Calculator

    class Null(Calculator):
        implemented_properties = ("energy", "forces", "stress")

        def calculate(self, atoms, properties, system_changes):
            super().calculate(atoms, properties, system_changes)
            if len(self.__dict__.get("zeros", ())) != len(atoms):
                self.zeros, self.six = np.zeros((len(atoms), 3)), np.zeros(6)
            self.results = {"energy": 0.0, "forces": self.zeros, "stress": self.six}

    return Null()
