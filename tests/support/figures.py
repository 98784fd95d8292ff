"""The type of pytest's fixture ``record_property``, for the counts of scripts/figures."""

from __future__ import annotations

from collections.abc import Callable

Recorder = Callable[[str, object], None]
