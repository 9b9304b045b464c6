"""Evaluating many structures: batches, pools, progress, files."""
