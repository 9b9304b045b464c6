"""Coverage-guided fuzzing of everything that reads foreign input: ``python -m fuzz``."""
