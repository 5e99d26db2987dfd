#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Goal: what is installed is built as .cmake/Modules.cmake says, so that a fault of ours is hard to use: loaded at
#       random addresses, no memory both written and executed, no table of addresses left to be overwritten, guarded stacks
#       and checked calls of the C library.
# Method: readelf on each executable.
set -euo pipefail

if (($# == 0)); then
  echo "usage: tests/install/elf.sh EXECUTABLE..." >&2
  exit 2
fi
fail() { echo "FAILED: $*" >&2; exit 1; }

for file in "$@"; do
  header=$(readelf -hW "$file") segments=$(readelf -lW "$file") dynamic=$(readelf -dW "$file")
  symbols=$(readelf -sW --dyn-syms "$file")
  grep -q 'Type: *DYN' <<<"$header" || fail "$file is loaded at a fixed address"
  grep -q 'FLAGS_1.* PIE' <<<"$dynamic" || fail "$file is no position independent executable"
  grep -q 'FLAGS_1.* NOW' <<<"$dynamic" || fail "$file binds symbols as it goes"
  grep -q 'GNU_RELRO' <<<"$segments" || fail "$file has no RELRO"
  grep -q 'GNU_STACK.* RW ' <<<"$segments" || fail "$file has an executable stack"
  ! grep -q ' RWE ' <<<"$segments" || fail "$file has memory that is written and executed"
  ! grep -Eq '\((RPATH|RUNPATH|TEXTREL)\)' <<<"$dynamic" || fail "$file looks for libraries elsewhere, or changes its code"
  grep -q '__stack_chk_fail' <<<"$symbols" || fail "$file has no guarded stacks"
  grep -Eq '__[a-z]+_chk@' <<<"$symbols" || fail "$file has no checked calls of the C library (_FORTIFY_SOURCE)"
  if grep -q 'X86-64' <<<"$header" && command -v objdump >/dev/null; then
    # Where a call through a pointer may arrive: at each function whose address is taken. The C runtime has a few without us.
    marks=$(objdump -d --no-show-raw-insn "$file" | grep -c 'endbr64' || true)
    ((marks > 50)) || fail "$file is not built with -fcf-protection"
  fi
  echo "  ${file##*/}"
done
