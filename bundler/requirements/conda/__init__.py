"""Conda environment files, translated to requirements."""
