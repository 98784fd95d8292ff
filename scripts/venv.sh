# shellcheck shell=bash
# Sourced by the other scripts: a virtual environment of the newest Python that will do.

# Print the newest Python of at least 3.11.
find_python() {
  local name
  for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$name" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  echo "no Python >= 3.11 with venv was found (tried python3.14 to python3.11, python3, python); install one, for example with pyenv install 3.12" >&2
  return 1
}

# make_venv DIR: create it unless it is there.
make_venv() {
  local python
  if [ ! -x "$1/bin/python" ]; then
    python=$(find_python) || exit 1
    "$python" -I -m venv "$1"
  fi
}

# install_into DIR ARG...: install the project, once for each state of pyproject.toml.
install_into() {
  local venv=$1 state
  shift
  state=$(cat pyproject.toml scripts/*.py | cksum)
  if [ "$(cat "$venv/installed" 2>/dev/null)" != "$state $*" ]; then
    echo "installing into $venv" >&2
    "$venv/bin/python" -I -m pip install --quiet --disable-pip-version-check "$@"
    echo "$state $*" >"$venv/installed"
  fi
}
