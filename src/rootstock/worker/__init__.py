"""The worker: runs inside a model's environment without being installed there.

No module of the main process imports this package; :mod:`rootstock.runtime` starts it by its path.
Standard library, NumPy and ASE, Python 3.9 and newer.
"""
