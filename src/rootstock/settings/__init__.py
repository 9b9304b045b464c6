"""Which root is meant, and where everything in it lies. Runs nothing."""
