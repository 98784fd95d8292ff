"""Translate conda environment files to requirements."""
