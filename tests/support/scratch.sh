# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests in the shell, to be sourced. What they write and start is gone when they end, however that comes:
#   scratch  a folder of the test's own
#   pids     processes that the test started and adds; they get SIGTERM
scratch=$(mktemp -d /tmp/mserve-test-shell.XXXXXX)
pids=()

clean_up() {
  local status=$? pid
  trap - EXIT
  for pid in "${pids[@]}"; do
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$scratch"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
