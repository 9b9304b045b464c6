"""Environment files, model strings, uv, locks and builds on disk."""
