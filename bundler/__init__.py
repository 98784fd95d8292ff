"""Turn Python requirements into an offline dependency bundle you can prove."""

__version__ = "0.2.0"
