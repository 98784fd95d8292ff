# shellcheck shell=bash
# Sourced by the other scripts: create a virtual environment of the newest suitable Python.
#
# BUNDLER_PYTHON=NAME|PATH selects another one (`BUNDLER_PYTHON=python3.12 scripts/test`); an environment
# of another Python is created again.

# find_python: print the path of BUNDLER_PYTHON, or of the newest Python >= 3.11.
find_python() {
  local name names=(python3.14 python3.13 python3.12 python3.11 python3 python)
  if [ -n "${BUNDLER_PYTHON:-}" ]; then
    names=("$BUNDLER_PYTHON")
  fi
  for name in "${names[@]}"; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  if [ -n "${BUNDLER_PYTHON:-}" ]; then
    echo "BUNDLER_PYTHON=$BUNDLER_PYTHON is not a Python >= 3.11 with venv" >&2
  else
    echo "Python >= 3.11 with venv not found (tried ${names[*]}); install one, for example: pyenv install 3.12" >&2
  fi
  return 1
}

# base_of PYTHON: print the version and the prefix of the base Python of an environment.
base_of() {
  "$1" -I -c 'import sys; print(sys.version_info[:3], sys.base_prefix)'
}

# make_venv DIR: create the environment unless it exists; again if BUNDLER_PYTHON is another Python.
make_venv() {
  local python
  if [ -x "$1/bin/python" ] && [ -z "${BUNDLER_PYTHON:-}" ]; then
    return
  fi
  python=$(find_python) || exit 1
  if [ ! -x "$1/bin/python" ] || [ "$(base_of "$1/bin/python")" != "$(base_of "$python")" ]; then
    "$python" -I -m venv --clear "$1"
  fi
}

# install_into DIR ARG...: install the project, once for each content of these files.
install_into() {
  local venv=$1 state
  shift
  state=$(cat pyproject.toml bundler/__init__.py scripts/*.py scripts/bundler | cksum)
  if [ "$(cat "$venv/installed" 2>/dev/null)" != "$state $*" ]; then
    echo "installing into $venv" >&2
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check "$@"
    echo "$state $*" >"$venv/installed"
  fi
}
