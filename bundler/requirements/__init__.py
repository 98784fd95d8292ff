"""Read requirements: requirements files, ``pyproject.toml`` and conda environment files."""
