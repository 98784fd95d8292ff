"""Where the checkout and its parts are."""

from __future__ import annotations

from pathlib import Path

import bundler

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(bundler.__file__).parent
EXAMPLE = ROOT / "examples" / "sklearn-score"
CAPTURE = PACKAGE / "target/scripts/capture.py"
