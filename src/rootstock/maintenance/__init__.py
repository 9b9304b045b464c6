"""Tasks of a root's maintainer, one module for each."""
