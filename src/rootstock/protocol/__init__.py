"""i-PI's protocol and our extension of it; the same files run in both processes.

Standard library and NumPy only, Python 3.9 and newer.
"""
