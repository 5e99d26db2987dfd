#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Goal: Tab offers what each tool takes, and nothing else. Method: call the completions as bash would, in a bare shell.
set -euo pipefail

if (($# != 1)); then
  echo "usage: tests/documents/completion.sh BUILD_DIR   (ctest passes it)" >&2
  exit 2
fi
build=$(realpath "$1")
temporary=$(mktemp -d /tmp/mserve-completion.XXXXXX)
trap 'rm -rf "$temporary"' EXIT
failed=0 count=0

# What bash would offer for these words, the last of which is being typed; one a line.
offered() {
  local tool=$1
  (
    # shellcheck source=/dev/null
    . "$build/completion/$tool"
    cd "$temporary"
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMPREPLY=()
    "_${tool//-/_}" "$tool" "${*: -1}" "${*: -2:1}"
    printf '%s\n' "${COMPREPLY[@]}"
  )
}

# expect 'WHAT IS OFFERED' WORD...
expect() {
  local wanted=$1 got
  shift
  got=$(offered "$@" | paste -sd' ')
  count=$((count + 1))
  [[ $got == "$wanted" ]] || { printf 'FAILED: %s: offers "%s", expected "%s"\n' "$*" "$got" "$wanted" >&2; failed=1; }
}

# among WORD WHAT...: one of several that are offered
among() {
  local wanted=$1 got
  shift
  got=$(offered "$@")
  count=$((count + 1))
  grep -qxF -e "$wanted" <<<"$got" || { printf 'FAILED: %s: does not offer "%s"\n' "$*" "$wanted" >&2; failed=1; }
}

mkdir "$temporary/users.d"
touch "$temporary/users.csv" "$temporary/my plan"
# A program of ours among all that are found.
printf '#!/bin/sh\n' >"$temporary/mserve-completion-probe"
chmod 700 "$temporary/mserve-completion-probe"
PATH=$temporary:$PATH

expect '--policy --policy-plugin' mserve-broker --pol
expect 'orig even match least weighted plugin' mserve-broker --policy ''
expect 'match' mserve-broker --policy m
expect 'park' mserve-broker --idle = pa                       # bash parts --idle=pa
expect 'spin yield park auto' mserve-broker --idle =
expect 'arg: fn fn+arg: user const option:' mserve-broker --route ''
expect 'users.csv users.d' mserve-broker --users us
expect 'users.d' mserve-broker --dir us
expect '' mserve-broker --core ''
expect '' mserve-broker ''                                    # a number
among mserve-completion-probe mserve-broker 2 mserve-completion-p
expect 'ctl servants clients routes latency events top queries serve counters cluster' mserve-stat ''
expect 'servants serve' mserve-stat --json se
expect 'pause resume drain retire policy log-level reload cluster' mserve-stat ctl ''
expect 'apply rollback show history' mserve-stat ctl cluster ''
expect 'users.csv users.d' mserve-stat ctl cluster apply us
expect '--base' mserve-stat ctl cluster apply --b
expect '--follow' mserve-stat events --f
expect '--interval' mserve-stat top --i
expect 'all name: group: tag:' mserve-stat ctl drain ''
expect '--timeout' mserve-stat ctl retire --t
expect 'orig even match least weighted plugin' mserve-stat ctl policy ''
expect 'warning' mserve-stat ctl log-level w
expect 'error' mserve-stat ctl --timeout 3 log-level e
expect 'all' mserve-stat --name prices ctl drain a
expect '--cluster-ca --cluster-cert' mserve-cluster --cluster-c
expect 'text json' mserve-cluster --log-format ''
expect 'audit plan run' mserve-pin ''
expect 'own data none' mserve-pin plan --gateway ''
expect 'my plan' mserve-pin run my
expect 'broker servant: q: shim:' mserve-pin run --role ''
among mserve-completion-probe mserve-pin run plan -- mserve-completion-p
expect 'passwd' mserve-client p
expect '--role' mserve-client passwd --r
among root mserve-client passwd ro
expect '--q --q-socket' mserve-qshim --q
expect 'spin' mserve-servant --idle s
expect 'pair processes both' mserve-bench peers --mode ''
among affinity mserve-bench a
expect 'hosts' mserve-bench h
# Each flag of --help is offered, of each tool.
for tool in "$build"/completion/*; do
  name=${tool##*/}
  offered "$name" -- | sort >"$temporary/offered"
  "$build/bin/$name" --help | grep -oE '^  (-[a-z],)?--[a-z-]+' | grep -oE -e '--[a-z-]+' | sort -u >"$temporary/known"
  count=$((count + $(wc -l <"$temporary/known")))
  diff "$temporary/known" <(sort -u "$temporary/offered") >&2 || { echo "FAILED: $name: flags of --help, and what is offered for --" >&2; failed=1; }
  bash -n "$tool"
done
((failed == 0)) || exit 1
echo "$count completions"
