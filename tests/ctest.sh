#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the tests of one build; see usage below. For tests/run.sh and tests/ci.sh.
set -euo pipefail

# A broken build fails many tests, and fails them again: that is told once.
few=5

if (($# < 1)) || [[ $1 == -* ]]; then
  cat <<TEXT
usage: tests/ctest.sh PRESET [OPTION-OF-CTEST...]

Runs the tests of the preset's build, and says "N passed, M failed". Results go to build/results/PRESET.xml.
Up to $few tests that failed run a second time, alone, into PRESET.again.xml: on a busy machine that tells what is
broken from what happens now and then. What passes then counts as passed, and is named with what it found at first:
whoever reads that has a race to find. What a sanitizer reported stays a failure.

Exit status: 0 when no test failed.
TEXT
  [[ ${1:-} == -h || ${1:-} == --help ]]
  exit
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=$1
shift
results="$PWD/build/results/$preset.xml"
again="${results%.xml}.again.xml"
failed_list="build/$preset/Testing/Temporary/LastTestsFailed.log"
mkdir -p build/results
rm -f "$results" "$again" "$failed_list"
if ! ctest --preset "$preset" --parallel "$(nproc)" --output-junit "$results" "$@" && [[ -s $failed_list ]] &&
  (($(wc -l <"$failed_list") <= few)); then
  echo "== once more, alone: what failed"
  ctest --preset "$preset" --rerun-failed --output-junit "$again" || true
fi
exec tests/count.py "$results"
