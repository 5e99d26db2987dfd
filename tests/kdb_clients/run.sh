#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a kdb+ client that other people wrote; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/kdb_clients/run.sh CLIENT SETUP BIN

Starts what SETUP says from the executables in the folder BIN, and runs the cases of CLIENT against it, over TCP and over
the Unix socket of kdb+.
  CLIENT  node-q  from npm. Another one from npm is one more file node/CLIENT.js, and a line in node/package.json.
  SETUP   direct  the stand-in for q alone: sync queries only
          native  a broker with two demo servants; also runs the example qclient/examples/hello_node.js
          shim    a broker and a stand-in behind mserve-qshim
          haproxy HAProxy in front of two brokers, one of which is killed; runs node/CLIENT-reconnect.js

Packages are installed below BIN/../kdb_clients, by the lock file.
Exit status: 0 passed, 1 failed, 77 skipped because the client, or what it takes to install it, is not there. With CI in the
environment node and npm have to be there; only a registry out of reach is a reason to skip.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
(($# == 3)) || { usage >&2; exit 2; }
client=$1 setup=$2 bin=$(realpath "$3")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
installed=$(realpath -m "$bin/../kdb_clients")
# shellcheck source=tests/support/scratch.sh
. "$here/../support/scratch.sh"

skip() {
  printf '\nSKIP: %s\nSKIP: nothing was shown about %s.\n\n' "$1" "$client"
  exit 77
}

# Where CI is set all that it takes is to be there: a skip would hide that nothing is shown any more.
skip_unless_ci() {
  [[ -z ${CI:-} ]] || fail "$1, and CI is to have it: broker/deploy/packages.sh, group node"
  skip "$1"
}

fail() {
  echo "error: $1" >&2
  tail -n 50 "$scratch"/*.log >&2 2>/dev/null || true
  exit 1
}

# Installs what package-lock.json names, once; several tests may come here at the same time.
install_node_packages() {
  local log="$installed/npm.log" stamp="$installed/node/installed.lock"
  command -v node >/dev/null || skip_unless_ci "node is not installed"
  mkdir -p "$installed/node"
  exec {lock}>"$installed/lock"
  flock "$lock"
  if ! cmp -s "$here/node/package-lock.json" "$stamp"; then
    command -v npm >/dev/null || skip_unless_ci "npm is not installed, so the packages cannot be"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$installed/node/"
    if ! npm ci --prefix "$installed/node" --ignore-scripts --no-audit --no-fund --prefer-offline --fetch-retries 1 \
      >"$log" 2>&1; then
      cat "$log"
      ! grep -qE 'EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT' "$log" ||
        skip "npm reaches no registry"
      echo "error: npm could not install what package-lock.json names" >&2
      exit 1
    fi
    cp "$here/node/package-lock.json" "$stamp"
  fi
  exec {lock}>&-
}

# Runs the client against `port`. node-q uses what node deprecated long ago.
run_client() {
  NODE_PATH="$installed/node/node_modules" node --no-deprecation "$here/node/$client.js" \
    127.0.0.1 "$port" --unix "$QUDSPATH/kx.$port" "$@"
}

# Runs the example that users read, and looks for a row of each symbol.
run_example() {
  local log="$scratch/example.log" symbol
  NODE_PATH="$installed/node/node_modules" node --no-deprecation "$here/../../qclient/examples/hello_node.js" \
    127.0.0.1 "$port" >"$log" 2>&1 || fail "hello_node.js failed"
  for symbol in IBM GS UBS; do
    grep -q "SYM: '$symbol'" "$log" || fail "hello_node.js printed no row of $symbol"
  done
  echo "hello_node.js: passed"
}

# Sets `port` to one on which nobody listens, below those that the kernel gives away.
free_port() {
  port=$((20000 + RANDOM % 12000))
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    port=$((20000 + RANDOM % 12000))
  done
}

# Starts a stand-in and sets `port` to where it listens.
start_standin() {
  mkfifo "$scratch/said"
  "$bin/mserve-standin" "$@" >"$scratch/said" 2>"$scratch/standin.log" &
  pids+=($!)
  local word=
  read -r -t 60 word port <"$scratch/said" || true
  [[ $word == listening ]] || fail "the stand-in did not start"
}

# start_broker [ARGUMENT...]: with a gateway on `port`.
start_broker() {
  local ready=
  free_port
  mkfifo "$scratch/ready.$port"
  "$bin/mserve-broker" --ready-fd 3 -p "$port" "$@" 3>"$scratch/ready.$port" 2>"$scratch/broker.$port.log" &
  pids+=($!)
  read -r -t 60 ready <"$scratch/ready.$port" || true
  [[ $ready == ready ]] || fail "the broker did not become ready"
}

start_shim() {
  local tries=0
  "$bin/mserve-qshim" --q "127.0.0.1:$1" 2>"$scratch/shim.log" &
  pids+=($!)
  until "$bin/mserve-client" 'echo 1' >/dev/null 2>&1; do
    ((++tries <= 600)) || fail "the shim does not serve"
    sleep 0.1
  done
}

# start_haproxy PORT PORT: with the configuration of broker/deploy, in front of these; sets `port`.
start_haproxy() {
  local command tries=0
  command=$(PATH=$PATH:/usr/sbin command -v haproxy) || skip "haproxy is not installed"
  free_port
  # No mserve-stat serve runs here, which would answer the agent's checks.
  sed -e "s|/run/haproxy/admin.sock|$scratch/admin|" -e "s/bind :5000/bind 127.0.0.1:$port/" \
    -e "s/10\.1\.0\.1:5000/127.0.0.1:$1/" -e "s/10\.1\.0\.2:5000/127.0.0.1:$2/" \
    -e 's/ agent-check agent-inter 1s//; s/ agent-port [0-9]*//' \
    "$here/../../broker/deploy/haproxy.cfg" >"$scratch/haproxy.cfg"
  "$command" -db -f "$scratch/haproxy.cfg" 2>"$scratch/haproxy.log" &
  pids+=($!)
  until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    { ((++tries <= 600)) && kill -0 "${pids[-1]}"; } 2>/dev/null || fail "HAProxy does not listen"
    sleep 0.1
  done
}

# Kills the first of two brokers while the client asks through HAProxy.
run_reconnecting_client() {
  local first second killed word=''
  start_broker --name first 1 "$bin/mserve-servant"
  first=$port killed=${pids[-1]}
  start_broker --name second 1 "$bin/mserve-servant"
  second=$port
  start_haproxy "$first" "$second"
  mkfifo "$scratch/asks"
  NODE_PATH="$installed/node/node_modules" node --no-deprecation "$here/node/$client-reconnect.js" \
    127.0.0.1 "$port" >"$scratch/asks" 2>"$scratch/client.log" &
  local asking=$!
  pids+=("$asking")
  exec {said}<"$scratch/asks"
  read -r -t 60 word <&"$said" || true
  [[ $word == asking ]] || fail "the client got no answers: $word"
  kill -KILL "$killed"
  wait "$killed" 2>/dev/null || true  # and the shell does not tell of it
  cat <&"$said"
  wait "$asking" || fail "the client did not go on"
}

export MSERVE_DIR="$scratch" QUDSPATH="$scratch"

[[ -f $here/node/$client.js ]] || { echo "error: no client is called $client" >&2; exit 2; }
install_node_packages
case "$setup" in
  direct)
    start_standin --uds
    run_client --sync-only
    ;;
  native)
    start_broker --servant-args '--rows 1000' 2 "$bin/mserve-servant"
    run_client
    run_example
    ;;
  shim)
    start_standin
    standin_port=$port
    start_broker
    start_shim "$standin_port"
    run_client
    ;;
  haproxy) run_reconnecting_client ;;
  *) usage >&2; exit 2 ;;
esac
