"""The target: the Python that a bundle is for."""
