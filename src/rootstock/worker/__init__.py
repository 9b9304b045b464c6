"""The guest process: runs inside a model's environment, and is never installed there.

No module of the host imports this package; :mod:`rootstock.launch` knows only where it lies.
Standard library, NumPy and ASE, Python 3.9 on.
"""
