#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone on Debian 12 to a first answer and a first measurement; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: broker/quickstart.sh [--help]

Installs the Debian packages that are missing (as root or with sudo), builds mserve into build/release,
starts a broker with two demo servants, sends the query  proc1 `IBM  to it, measures round trips for five
seconds, and stops everything again. Outside build/ nothing stays behind. A second run takes seconds.

Exit status: 0 when all of that worked.
TEXT
}

case "${1:-}" in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. broker/deploy/packages.sh

bin=build/release/bin
private_dir=
broker_pid=

step() { printf '\n== %s\n' "$*"; }

# Stops the broker, whose servants end with it. Fails when it had to be killed or ended with an error.
stop_broker() {
  local pid=$broker_pid tries=0 status=0
  kill -TERM "$pid" 2>/dev/null || true
  while kill -0 "$pid" 2>/dev/null; do
    if ((++tries > 100)); then
      echo "error: the broker did not stop within ten seconds; killing it" >&2
      kill -KILL "$pid"
      break
    fi
    sleep 0.1
  done
  wait "$pid" 2>/dev/null || status=$?
  broker_pid=
  return "$status"
}

clean_up() {
  local status=$?
  trap - EXIT
  trap '' HUP INT TERM
  [[ -z $broker_pid ]] || stop_broker || status=1
  [[ -z $private_dir ]] || rm -rf "$private_dir"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

show_log() {
  echo "error: $1; the broker's log:" >&2
  cat "$private_dir/broker.log" >&2
  exit 1
}

step "Packages"
mserve_install_packages build
echo "All there."

step "Build (release, into build/release)"
mkdir -p build
cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log >&2; exit 1; }
cmake --build --preset release --target mserve-tools

step "A broker with two demo servants"
# A directory of our own: a broker that already runs on this machine is not disturbed.
private_dir=$(mktemp -d /tmp/mserve-quickstart.XXXXXX)
export MSERVE_DIR="$private_dir"
mkfifo "$private_dir/ready"
"$bin/mserve-broker" --name quickstart --ready-fd 3 2 "$bin/mserve-servant" \
  3>"$private_dir/ready" 2>"$private_dir/broker.log" &
broker_pid=$!
ready=
read -r -t 60 ready <"$private_dir/ready" || true
[[ $ready == ready ]] || show_log "the broker did not become ready"
echo "Process $broker_pid, ready."

step "mserve-client 'proc1 \`IBM'"
"$bin/mserve-client" --name quickstart 'proc1 `IBM' || show_log "the query failed"

step "Round trips through the broker, for five seconds"
"$bin/mserve-bench" rtt --seconds 5 --name quickstart || show_log "the measurement failed"

step "Stopping"
stop_broker || show_log "the broker ended with an error"
echo "Done. Next: tests/run.sh runs every test, README.md is the map."
