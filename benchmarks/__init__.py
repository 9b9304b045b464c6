"""Measurements: ``python -m benchmarks``. Timings live here, never in tests."""
