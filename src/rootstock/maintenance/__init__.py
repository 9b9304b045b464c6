"""What a maintainer does with a root: one module per task."""
