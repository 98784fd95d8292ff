"""Exit with 0 if `bundler --python ARGUMENT` finds an interpreter, else with 1."""

import sys
import tempfile
from pathlib import Path

from bundler.errors import BundlerError
from bundler.system.environ import read_host_environment
from bundler.target.interpreter import find_interpreter

with tempfile.TemporaryDirectory() as scratch:
    try:
        find_interpreter(sys.argv[1], read_host_environment(), Path(scratch))
    except BundlerError:
        sys.exit(1)
