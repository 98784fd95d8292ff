"""What would make a failed module import."""

from __future__ import annotations

import pytest
from packaging.utils import canonicalize_name

from bundler.checks.import_results import ImportResult, ImportStatus
from bundler.checks.remedies import remedy

OWNERS = {"markupsafe": "markupsafe", "werkzeug": "werkzeug", "own": "own"}


@pytest.mark.parametrize(
    ("status", "missing", "detail", "expected"),
    [
        ("missing-dependency", "yaml.nodes", "", "add `PyYAML` to your requirements, it provides `yaml`"),
        (
            "missing-dependency",
            "pkg_resources",
            "",
            "add `setuptools<82` to your requirements, it provides `pkg_resources`",
        ),
        ("missing-dependency", "requests", "", "add `requests` to your requirements"),
        (
            "missing-dependency",
            "werkzeug.contrib",
            "",
            "pin another release of `werkzeug`: 2.1 has no `werkzeug.contrib`",
        ),
        ("missing-library", "libGL.so.1", "", "install `libGL.so.1` in the base image"),
        (
            "failed",
            None,
            "ImportError: cannot import name 'soft_unicode' from 'markupsafe' (markupsafe/__init__.py)",
            "pin another release of `markupsafe`: 2.1 has no `markupsafe.soft_unicode`",
        ),
        (
            "failed",
            None,
            "AttributeError: module 'werkzeug' has no attribute 'x'",
            "pin another release of `werkzeug`: 2.1 has no `werkzeug.x`",
        ),
        ("failed", None, "ImportError: cannot import name 'x' from 'own' (own.py)", ""),
        ("failed", None, "ImportError: cannot import name 'x' from 'os' (os.py)", ""),
        ("crashed", None, "SIGSEGV", ""),
    ],
)
def test_remedy(status: ImportStatus, missing: str | None, detail: str, expected: str) -> None:
    result = ImportResult(
        distribution=canonicalize_name("own"),
        module="own",
        status=status,
        detail=detail,
        missing=missing,
        declared=False if status == "missing-dependency" else None,
    )

    def owner_of(module: str) -> str:
        return OWNERS.get(module.partition(".")[0], "")

    assert remedy(result, owner_of, dict.fromkeys(OWNERS, "2.1")) == expected
