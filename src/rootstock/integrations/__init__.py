"""Rootstock in other programs: one module for each."""
