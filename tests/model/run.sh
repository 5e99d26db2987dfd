#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the models of this folder with spin; see usage below.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/model/run.sh

Lets spin search every state of parking.pml and ring.pml: the protocol as it is built must hold, and each
weakened variant must fail, or the model proves nothing. The options of a variant are explained on top of
its model. Takes half a minute and at most 1.5 GB. The last line says  N passed, M failed.
See a counterexample:  cd tests/model && spin -a OPTIONS M.pml && gcc -DSAFETY -w -o pan pan.c && ./pan &&
  spin -t -p -g OPTIONS M.pml      (then remove pan* and *.trail)

Exit status: 0 when all came out as expected, also when spin is not installed (then it says so).
TEXT
}

case "${1:-}" in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
for tool in spin gcc; do
  if ! command -v "$tool" >/dev/null; then
    echo "skipped: the models were not checked, because $tool is missing (apt-get install $tool)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
  fi
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/mserve-test-model.XXXXXX")
trap 'rm -rf "$folder"' EXIT
passed=0 failed=0

# check holds|fails MODEL WHAT [OPTION...]
check() {
  local expected=$1 model=$2 what=$3 outcome log="$folder/log" states
  shift 3
  rm -rf "$folder/run" && mkdir "$folder/run"
  if ! (
    cd "$folder/run"
    cp "$here/$model.pml" .
    spin -a "$@" "$model.pml" && gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1500 -o pan pan.c &&
      timeout 120 ./pan -m200000
  ) >"$log" 2>&1; then
    outcome="not checked"
  elif grep -q 'errors: 0' "$log" && ! grep -q 'search not completed\|max search depth too small' "$log"; then
    outcome=holds
  elif grep -q 'assertion violated\|invalid end state' "$log"; then
    outcome=fails
  else
    outcome="not checked"
  fi
  states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' "$log" | head -n 1)
  if [[ $outcome == "$expected" ]]; then
    passed=$((passed + 1))
    printf 'ok    %-7s  %-5s  %8s states  %-60s %s\n' "$model" "$outcome" "${states:-?}" "$what" "$*"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-7s  %s, expected: %s  %s %s\n' "$model" "$outcome" "$expected" "$what" "$*"
    tail -n 25 "$log"
  fi
}

check holds parking "descriptor" -DFRAMES=3
check holds parking "futex and repeating waker" -DFUTEX -DFRAMES=3
check holds parking "one barrier for two sessions" -DPRODUCERS=2
check holds parking "fallback, descriptor" -DFALLBACK -DFRAMES=3
check holds parking "fallback, futex" -DFALLBACK -DFUTEX -DFRAMES=3
check fails parking "without the membarrier, descriptor" -DNO_BARRIER
check fails parking "without the membarrier, futex" -DNO_BARRIER -DFUTEX
check fails parking "without the membarrier, two sessions" -DNO_BARRIER -DPRODUCERS=2
check fails parking "without the second look" -DNO_RECHECK
check fails parking "second look before the announcement" -DC3_FIRST
check fails parking "compiler moves the load of polled before the commit" -DP2_FIRST
check fails parking "a futex wake that woke nobody is not repeated" -DFUTEX -DWAKE_ONCE
check fails parking "fallback, commit not sequentially consistent" -DFALLBACK -DWEAK_P1
check fails parking "fallback, announcement not sequentially consistent" -DFALLBACK -DWEAK_C1

check holds ring "as it is" -DFRAMES=6
check holds ring "claims given up for shorter ones, zeroing knows of them" -DFRAMES=4 -DRECLAIM
check fails ring "claims given up for shorter ones, zeroing does not know" -DFRAMES=4 -DRECLAIM -DTRUST_CLEAN
check fails ring "line one beyond is not zeroed" -DFRAMES=5 -DNO_ZERO_NEXT
check fails ring "end of a longer frame is not zeroed" -DFRAMES=5 -DNO_ZERO_END
check fails ring "end of a longer frame is zeroed after its commit" -DFRAMES=5 -DZERO_LATE
check fails ring "a claim leaves no line free" -DFRAMES=5 -DRESERVE=0
check fails ring "a claim leaves one line free" -DFRAMES=5 -DRESERVE=1
check fails ring "E1: the commit is no release" -DFRAMES=5 -DE1_RELAXED
check fails ring "E2: released before it is read" -DFRAMES=5 -DE2_EARLY
check fails ring "padding frame committed before the frame behind it" -DFRAMES=5 -DPADDING_FIRST

echo "$passed passed, $failed failed"
((failed == 0))
