"""``python -m bundler``, and the command ``bundler``."""

from __future__ import annotations

import sys

from bundler.cli.main import run_cli

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
