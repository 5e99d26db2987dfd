#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the soak and runs it; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/soak.sh MINUTES [--seed N]

Builds mserve into build/release as users get it, then puts load on a real broker for MINUTES while clients, servants,
shims, q stand-ins and the broker itself are killed, stopped and restarted, and others write random words. At the
end: how many faults of each kind, and what became of each request. The first line tells the seed.
MSERVE_SOAK_BUILD names another build folder that is configured already, such as build/asan.

Exit status: 0 when nothing was lost, answered twice, wrong or left over.
TEXT
}

case "${1:-}" in
  '' | -h | --help) usage; exit 0 ;;
esac
minutes=$1
shift
[[ $minutes =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${MSERVE_SOAK_BUILD:-build/release}
if [[ ! -f $build/CMakeCache.txt ]]; then
  . broker/deploy/packages.sh
  mserve_install_packages build test
  cmake --preset release >/dev/null
fi
cmake --build "$build" --target mserve-test-soak >/dev/null
exec "$build/bin/mserve-test-soak" --seconds "$((minutes * 60))" "$@"
