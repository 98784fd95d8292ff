"""The known code of `.pth` files: whole lines, as the wheels of PyPI have them."""

from __future__ import annotations

import pytest

from bundler.data.pth_lines import is_known

HEAD = "p = os.path.join(sys._getframe(1).f_locals['sitedir'], *('google', 'cloud'))"
TAIL = "mp = (m or []) and m.__dict__.setdefault('__path__',[]);(p not in mp) and mp.append(p)"
FOUND = (
    "importlib.util.module_from_spec(importlib.machinery.PathFinder.find_spec('google.cloud', "
    "[os.path.dirname(p)]))"
)
CHILD = "m and setattr(sys.modules['google'], 'cloud', m)"
# By version of setuptools, from setuptools/namespaces.py and setuptools/command/install_egg_info.py.
NAMESPACES = [
    pytest.param(
        f"import sys,types,os; {HEAD}; ie = os.path.exists(os.path.join(p,'__init__.py')); m = not ie and "
        f"sys.modules.setdefault('google.cloud',types.ModuleType('google.cloud')); {TAIL}; {CHILD}",
        id="5",
    ),
    pytest.param(
        f"import sys, types, os;pep420 = sys.version_info > (3, 3);{HEAD};"
        "ie = os.path.exists(os.path.join(p,'__init__.py'));m = not ie and not pep420 and "
        f"sys.modules.setdefault('google.cloud', types.ModuleType('google.cloud'));{TAIL};{CHILD}",
        id="28.7",
    ),
    pytest.param(
        f"import sys, types, os;has_mfs = sys.version_info > (3, 5);{HEAD};"
        "importlib = has_mfs and __import__('importlib.util');has_mfs and __import__('importlib.machinery');"
        f"m = has_mfs and sys.modules.setdefault('google.cloud', {FOUND});"
        f"m = m or sys.modules.setdefault('google.cloud', types.ModuleType('google.cloud'));{TAIL};{CHILD}",
        id="31",
    ),
    pytest.param(
        f"import sys, types, os;{HEAD};importlib = __import__('importlib.util');"
        f"__import__('importlib.machinery');m = sys.modules.setdefault('google.cloud', {FOUND});"
        f"m = m or sys.modules.setdefault('google.cloud', types.ModuleType('google.cloud'));{TAIL};{CHILD}",
        id="68",
    ),
]


@pytest.mark.parametrize("line", NAMESPACES)
def test_the_lines_of_namespace_packages_are_known_in_every_distribution(line: str) -> None:
    assert is_known("google-cloud-storage", [line, line])


@pytest.mark.parametrize("line", NAMESPACES)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("append(p)", "append(p); import evil", id="more"),
        pytest.param("'google.cloud'", "'google.cloud', evil()", id="call"),
        pytest.param("'google', 'cloud'", "'google', '../evil'", id="path"),
        pytest.param("'sitedir'", "'known_paths'", id="other"),
        pytest.param(HEAD, f"{HEAD}\u2028import evil", id="line"),
    ],
)
def test_a_changed_line_is_not_known(line: str, old: str, new: str) -> None:
    assert old in line
    assert not is_known("google-cloud-storage", [line.replace(old, new)])


PRECEDENCE = (
    "import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os.environ.get(var, 'local') == 'local'; "
    "enabled and __import__('_distutils_hack').add_shim(); "
)


def test_code_that_runs_a_module_is_known_in_its_distribution_only() -> None:
    assert is_known("setuptools", [PRECEDENCE])
    assert not is_known("own", [PRECEDENCE])
    assert not is_known("coloredlogs", [PRECEDENCE])
    assert not is_known("setuptools", [PRECEDENCE, "import x"])


def test_a_statement_of_one_entry_does_not_complete_a_line_of_another() -> None:
    assert not is_known(
        "setuptools", ["import sys, types, os; enabled and __import__('_distutils_hack').add_shim()"]
    )
