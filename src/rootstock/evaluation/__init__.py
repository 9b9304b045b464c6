"""Evaluation of structures by one interface, whatever computes them."""
