#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Plays a transcript of what users of the q scripts type, and compares; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/transcripts/run.sh TRANSCRIPT BIN

A transcript holds, line by line:
  $ mserve-broker ... -p PORT   the command that takes the script's place, run from the executables in BIN; q is the
                                stand-in for it, in the form that `#!` names (plain, lbt, qsvr)
  q) ...                        what is typed at a client's console, followed by what it prints
  < ...                         a message that arrives by itself: q would run it
  # ...                         words
PORT is a free one. What comes out must be the transcript, character by character.
Exit status: 0 the same, 1 different, 2 wrong usage.
TEXT
}

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
esac
(($# == 2)) || { usage >&2; exit 2; }
transcript=$(realpath "$1") bin=$(realpath "$2")
# shellcheck source=tests/support/scratch.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/scratch.sh"

# Sets `port` to one on which nobody listens, nor on the next two, below those that the kernel gives away.
free_port() {
  local taken=1 at
  while ((taken)); do
    port=$((20000 + RANDOM % 12000)) taken=0
    for at in 0 1 2; do
      if (exec 3<>"/dev/tcp/127.0.0.1/$((port + at))") 2>/dev/null; then taken=1; fi
    done
  done
}

form=$(sed -n 's/^#! //p' "$transcript")
command=$(sed -n 's/^\$ //p' "$transcript")
[[ -n $form && -n $command ]] || { echo "error: $1 has no line '#! FORM' or no line '\$ COMMAND'" >&2; exit 2; }
export MSERVE_DIR="$scratch" QUDSPATH="$scratch" QBIN="$scratch/q"
cat >"$QBIN" <<SCRIPT
#!/bin/sh
for last; do :; done
exec '$bin/mserve-standin' --form $form --port "\$last"
SCRIPT
chmod 700 "$QBIN"
: >"$scratch/servant.q"
free_port
mkfifo "$scratch/ready"
read -ra words <<<"${command//PORT/$port}"
(cd "$scratch" && exec "$bin/${words[0]}" --ready-fd 3 "${words[@]:1}") 3<>"$scratch/ready" >"$scratch/broker.log" 2>&1 &
broker=$!
pids+=("$broker")
ready=
read -r -t 60 ready <>"$scratch/ready" || true
[[ $ready == ready ]] || { echo "error: not ready: $command" >&2; cat "$scratch/broker.log" >&2; exit 1; }

grep -v -e '^#' -e '^\$' "$transcript" >"$scratch/expected"
sed -n -e 's/^q) //p' -e '/^< /p' "$scratch/expected" | "$bin/mserve-qsession" "$port" >"$scratch/got" 2>&1 ||
  echo "! the session ended with $?" >>"$scratch/got"
kill -TERM "$broker"
wait "$broker" || echo "! the broker ended with $?" >>"$scratch/got"
pids=()
diff -u --label "$transcript" "$scratch/expected" --label 'what came out' "$scratch/got"
