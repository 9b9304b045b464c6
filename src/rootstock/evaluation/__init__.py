"""The interface of everything that evaluates structures."""
