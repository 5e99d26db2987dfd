#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds everything and runs every test; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/run.sh [--help] [REGEX]

Installs the Debian packages that are missing (as root or with sudo), builds mserve and its tests into
build/release, with the compiler and options that users get, and runs the tests whose names match REGEX
(all without one). The last line says  N passed, M failed  and, if tests had to be skipped,  K skipped.
Other builds (sanitizers, clang) and linters: tests/ci.sh.

Exit status: 0 when no test failed.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
(($# <= 1)) || { usage >&2; exit 2; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. broker/deploy/packages.sh
mserve_install_packages build test
# In CI no test is skipped for want of it.
[[ -z ${CI:-} ]] || mserve_install_node

mkdir -p build
rm -f build/results/release*.xml

# In CI a warning is an error; a newer compiler at home must not stop anybody.
options=()
[[ -z ${CI:-} ]] || options+=(-DMSERVE_WERROR=ON)
if cmake --preset release "${options[@]}" >build/configure.log 2>&1; then
  if cmake --build --preset release; then
    exec tests/ctest.sh release ${1:+--tests-regex "$1"}
  fi
  echo "error: the build failed, so no test ran" >&2
else
  cat build/configure.log >&2
  echo "error: cmake could not configure the build, so no test ran" >&2
fi
exec tests/count.py build/results/release.xml
