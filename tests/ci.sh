#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The stages of CI beside tests/run.sh; see usage below. Each says above its function which faults it catches.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: tests/ci.sh STAGE...

Runs stages of CI one after the other, on any machine with Debian 12; missing packages are installed.
  packages    nothing but the installation of what is missing
  format      clang-format 14 would change nothing      tests/ci.sh fix-format  lets it change
  lint        house rules (tests/lint.py) and their own test
  shellcheck  the shell scripts
  headers     each public header compiles alone (after tests/run.sh)
  package     Debian packages of the release build: lintian, installed, used and purged in a root of their own (after tests/run.sh)
  page        the status page in headless Chromium, axe-core and promtool (after tests/run.sh)
  quickstart  broker/quickstart.sh leaves no process and no file behind, also when interrupted
  asan        clang, AddressSanitizer and UBSan: build and tests
  fuzz        every fuzz target of the asan build, MSERVE_FUZZ_SECONDS (8) each, from MSERVE_FUZZ_SEED (1);
              before a release 3600 each, from 0: a seed of its own each time
  tsan        clang, ThreadSanitizer: build and tests
  clang       each public header compiles alone with clang as well
  model       spin checks the models of ring and parking, and that weakened ones fail
  mutation    every weakened memory order of ring and parking is noticed by a test; some minutes
  tidy        clang-tidy 14 over everything but the tests, without its slow static analyzer; some ten minutes
  analyze     the same with the static analyzer; twice as long

Exit status: 0 when all of them passed; the first failure ends the run.
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. broker/deploy/packages.sh
cores=$(nproc)
# Other builds take several times as long over the same schedules; tests/run.sh runs them all.
few_schedules=1500
module_folders=(shm qclient servantshim broker bench)

# Prints the files of ours with one of the given endings, NUL-terminated.
our_files() {
  local ending match=()
  for ending in "$@"; do match+=(-o -name "*.$ending"); done
  find "${module_folders[@]}" tests -type f \( "${match[@]:1}" \) -print0
}

configure() {
  mkdir -p build
  cmake --preset "$1" >build/configure.log 2>&1 || { cat build/configure.log >&2; return 1; }
}

# Builds one preset and runs its tests; results go where .ci/run counts them.
build_and_test() {
  local preset=$1
  rm -f "build/results/$preset"*.xml
  configure "$preset"
  cmake --build --preset "$preset"
  tests/ctest.sh "$preset"
}

# Catches: a package that Debian does not have.
stage_packages() {
  local missing
  mserve_install_packages package
  missing=$(mserve_missing_packages build test ci package)
  [[ -z $missing ]] || { printf 'error: still missing: %s\n' "$missing" >&2; return 1; }
}

# Catches: layout that would be discussed in review.
stage_format() {
  our_files cpp hpp c h | xargs -0 -r clang-format-14 --dry-run -Werror
}

stage_fix-format() {
  our_files cpp hpp c h | xargs -0 -r clang-format-14 -i
}

# Catches: forbidden includes, unspelt memory orders, words outside the glossary, dead links.
stage_lint() {
  python3 -B tests/lint_test.py
  tests/lint.py
}

# Catches: unquoted expansions and other traps of the shell.
stage_shellcheck() {
  { our_files sh; printf '%s\0' .ci/run broker/deploy/debian/p*; } | xargs -0 shellcheck --external-sources
}

# Catches: a public header that only compiles after another one.
stage_headers() {
  configure release
  cmake --build --preset release --target all_verify_interface_header_sets
}

# Catches: a package that lacks a file or a dependency, that lintian finds fault with, or that leaves something behind.
stage_package() {
  mserve_install_packages package
  configure release
  cmake --build --preset release --target mserve-tools mserve-documents mserve_client mserve_servant
  tests/package/run.sh "$PWD" "$PWD/build/release"
}

# Catches: a status page that a browser, a phone, a keyboard or a screen reader cannot use, and metrics that Prometheus does not read.
stage_page() {
  { mserve_install_packages page && mserve_install_node; } || echo "going on without what is missing"
  configure release
  cmake --build --preset release --target mserve-broker mserve-stat mserve-servant mserve-client
  tests/page/run.sh build/release/bin
}

# What could be left behind: processes of ours (by their executable), sockets, shared memory.
leftovers() {
  local exe
  for exe in /proc/[0-9]*/exe; do
    readlink "$exe" 2>/dev/null | grep -F "$PWD/build/release/bin/" || true
  done
  find /dev/shm /tmp -maxdepth 1 -name '*mserve*' ! -name 'mserve-test-*' 2>/dev/null || true
}

# Catches: the first thing a newcomer tries does not work, or litters their machine.
stage_quickstart() {
  local before after pid
  before=$(leftovers)
  broker/quickstart.sh
  after=$(leftovers)
  [[ $after == "$before" ]] || { printf 'error: left behind:\n%s\n' "$after" >&2; return 1; }
  echo "== again, interrupted while it measures"
  # In its own process group, as a terminal would have it; a background job ignores Ctrl-C, hence SIGTERM.
  setsid broker/quickstart.sh >build/quickstart.log 2>&1 &
  pid=$!
  until grep -q 'Round trips' build/quickstart.log || ! kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  kill -TERM -- "-$pid"
  wait "$pid" && { echo "error: exit status 0 after an interruption" >&2; return 1; }
  after=$(leftovers)
  [[ $after == "$before" ]] || { printf 'error: left behind:\n%s\n' "$after" >&2; return 1; }
  echo "Nothing left behind."
}

# Catches: memory used after its end or beyond it, leaks, undefined behaviour. On two cores the other builds' gateway
# shares the data thread, so here it does not.
stage_asan() {
  export MSERVE_TEST_GATEWAY_THREAD=${MSERVE_TEST_GATEWAY_THREAD:-own}
  export MSERVE_TEST_SCHEDULES=${MSERVE_TEST_SCHEDULES:-$few_schedules}
  # addr2line reads the stacks: Debian's clang comes without llvm-symbolizer.
  export ASAN_OPTIONS=allow_addr2line=1:detect_stack_use_after_return=1:strict_string_checks=1
  export UBSAN_OPTIONS=allow_addr2line=1:print_stacktrace=1
  build_and_test asan
}

# Catches: input that crashes, hangs or eats memory, close to what the tests know already. Always from one seed, so that
# a change is not refused for what another one brought: new paths are the long run's work.
stage_fuzz() {
  configure asan
  cmake --build --preset asan
  mkdir -p build/fuzz
  shopt -s nullglob
  local targets=(build/asan/fuzz/mserve-fuzz-*)
  ((${#targets[@]})) || { echo "error: the asan build has no fuzz target" >&2; return 1; }
  printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$cores" "$0" one-fuzz-target
}

# One fuzz target: new inputs are kept in build/fuzz and start the next run; seeds come with the sources.
stage_one-fuzz-target() {
  local name=${1##*/} corpus
  local seeds=tests/fuzz/corpus/${name#mserve-fuzz-}
  corpus=("build/fuzz/$name")
  [[ ! -d $seeds ]] || corpus+=("$seeds")
  mkdir -p "${corpus[0]}"
  if ASAN_OPTIONS=allow_addr2line=1 "$1" -max_total_time="${MSERVE_FUZZ_SECONDS:-8}" -seed="${MSERVE_FUZZ_SEED:-1}" \
    -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
    "${corpus[@]}" >"build/fuzz/$name.log" 2>&1; then
    echo "$name: $(grep -o 'Done .*' "build/fuzz/$name.log")"
  else
    tail -n 60 "build/fuzz/$name.log" >&2
    echo "error: $name failed; replay with: $1 build/fuzz/$name-<the file named above>" >&2
    return 1
  fi
}

# Catches: data races between threads that share one mapping.
stage_tsan() {
  export MSERVE_TEST_SCHEDULES=${MSERVE_TEST_SCHEDULES:-$few_schedules}
  export TSAN_OPTIONS=allow_addr2line=1:second_deadlock_stack=1
  # Where address randomisation is stronger than clang 14's runtime expects, do without it.
  if [[ -z ${MSERVE_NO_ASLR:-} ]] && setarch -R true 2>/dev/null; then
    MSERVE_NO_ASLR=1 exec setarch -R "$0" tsan
  fi
  build_and_test tsan
}

# Catches: a public header that only g++ takes. All else clang compiles for the sanitizers, warnings being errors there.
stage_clang() {
  configure clang
  cmake --build --preset clang --target all_verify_interface_header_sets
}

# Catches: a lost wake-up or torn frame in the protocol itself, on any schedule.
stage_model() {
  tests/model/run.sh
}

# Catches: tests that would not notice a weakened memory order. Not part of .ci/run: it needs a quiet machine.
stage_mutation() {
  python3 -B tests/mutate.py
}

# Catches: bug patterns. The tests are left out: they would double the time, and they run anyway. Not part of .ci/run,
# which has to end well within an hour on two cores: run it before a change goes in.
stage_tidy() {
  run_tidy -checks='-clang-analyzer-*'
}

# Catches: null pointers, leaks and dead stores that only a walk along the paths finds. Not part of .ci/run.
stage_analyze() {
  run_tidy
}

run_tidy() {
  local folders
  configure clang
  cmake --build --preset clang --target mserve_bench_build_info
  folders=$(IFS='|' && echo "${module_folders[*]}")
  # It reports how many warnings in other people's headers it suppressed, and colours what it prints.
  run-clang-tidy-14 -quiet "$@" -j "$cores" -p build/clang "^$PWD/($folders)/.*\\.cpp\$" 2>&1 |
    sed -e '/warnings\? generated\.$/d' -e 's/\x1b\[[0-9;]*m//g'
}

if [[ ${1:-} == one-fuzz-target ]]; then
  stage_one-fuzz-target "$2"
  exit
fi
case "${1:-}" in
  '' | -h | --help) usage; exit 0 ;;
esac
for stage in "$@"; do
  declare -F "stage_$stage" >/dev/null || { echo "error: no stage is called $stage; try --help" >&2; exit 2; }
done
mserve_install_packages build test ci
[[ -z ${CI:-} ]] || mserve_install_node
for stage in "$@"; do
  "stage_$stage"
done
