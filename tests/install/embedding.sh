#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Goal: the installed C interface is all that an outsider needs, in C and in Python, to ask and to serve.
# Method: install a finished build into a scratch directory, move it, look at what the library exports, build the
#         examples with CMake and with pkg-config, run each client against each servant at the installed broker.
set -euo pipefail

if (($# != 2)); then
  echo "usage: tests/install/embedding.sh SOURCE_DIR BUILD_DIR   (a finished build; ctest passes these)" >&2
  exit 2
fi
source_dir=$1 build_dir=$2
consumer_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/c_consumer" && pwd)

# shellcheck source=tests/support/scratch.sh
. "$source_dir/tests/support/scratch.sh"

fail() {
  echo "FAILED: $*" >&2
  tail -n 30 "$scratch"/{broker,servant,client}.log >&2 2>/dev/null || true
  exit 1
}

# Runs a step silently; on failure shows what it printed.
quiet() {
  "$@" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; fail "$*"; }
}

quiet cmake --install "$build_dir" --prefix "$scratch/first"
mv "$scratch/first" "$scratch/moved"
prefix=$scratch/moved
examples=$prefix/share/doc/mserve/examples
library=$(find "$prefix" -name libmserve.so)
[[ -n $library ]] || fail "libmserve.so is not installed"
libdir=${library%/*}

echo "== what the library is"
major=$(sed -n 's/^#define MSERVE_ABI_MAJOR \([0-9]*\)U$/\1/p' "$prefix/include/mserve.h")
readelf -d "$library" >"$scratch/dynamic.log"
grep -qF "soname: [libmserve.so.$major]" "$scratch/dynamic.log" || fail "its name is not libmserve.so.$major"
[[ -e $libdir/libmserve.so.$major ]] || fail "libmserve.so.$major is not installed"
# A stranger's process gets no library that C++ itself does not bring.
! grep NEEDED "$scratch/dynamic.log" | grep -vE 'lib(stdc\+\+|gcc_s|m|c|pthread|atomic)\.so|ld-linux' ||
  fail "it needs other libraries"
# What the header declares is exported, under a version; and nothing else.
sed -n 's/.*\b\(mserve_[a-z_]*\)(.*/\1/p' <(grep -A1 '^MSERVE_API' "$prefix/include/mserve.h") | sort -u >"$scratch/declared"
nm -D --defined-only "$library" | sed -n 's/.* T \(.*\)@@MSERVE_[0-9.]*$/\1/p' | sort >"$scratch/exported"
diff "$scratch/declared" "$scratch/exported" || fail "header (<) and library (>) differ"
nm -D --defined-only "$library" | grep -vE ' T mserve_[a-z_]*@@MSERVE_|^0+ A MSERVE_' && fail "it exports more than that"
echo "  $(wc -l <"$scratch/exported") functions, nothing else"

echo "== the header"
echo '#include <mserve.h>' >"$scratch/header.c"
cp "$scratch/header.c" "$scratch/header.cpp"
strict=(-pedantic -Wall -Wextra -Werror -fsyntax-only -I "$prefix/include")
quiet cc -std=c99 "${strict[@]}" "$scratch/header.c"
quiet c++ -std=c++11 "${strict[@]}" "$scratch/header.cpp"
echo "  C99, C++11"

echo "== build the examples"
quiet cmake -S "$consumer_dir" -B "$scratch/cmake" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" -DEXAMPLES="$examples"
quiet cmake --build "$scratch/cmake"
echo "  CMake, C alone"
PKG_CONFIG_PATH=$(find "$prefix" -type d -name pkgconfig)
export PKG_CONFIG_PATH
read -ra flags < <(pkg-config --cflags --libs mserve)
mkdir "$scratch/by-hand"
for example in hello_client hello_servant; do
  quiet cc -std=c99 -pedantic -Wall -Wextra -Werror "$examples/$example.c" "${flags[@]}" -o "$scratch/by-hand/$example"
done
echo "  pkg-config"

[[ -x $prefix/bin/mserve-broker ]] || { echo "SKIP: no broker is installed; nothing was run"; exit 0; }
export LD_LIBRARY_PATH=$libdir MSERVE_DIR=$scratch/run PYTHONPATH
PYTHONPATH=$(dirname "$(find "$prefix" -name mserve.py)")
export PYTHONDONTWRITEBYTECODE=1
mkdir -m 700 "$MSERVE_DIR"

# One broker for all; servants come and go.
mkfifo "$scratch/ready"
"$prefix/bin/mserve-broker" --ready-fd 3 3>"$scratch/ready" 2>"$scratch/broker.log" &
pids+=($!)
read -r -t 60 ready <"$scratch/ready" || fail "the broker did not become ready"
[[ $ready == ready ]] || fail "the broker did not become ready"

# says CLIENT... TEXT: what it prints is TEXT, as soon as a servant is there.
says() {
  local want=${*: -1} got tries=0
  until got=$("${@:1:$#-1}" 2>"$scratch/client.log") || ! grep -q 'no servant' "$scratch/client.log"; do
    ((++tries <= 600)) || fail "no servant came for: $*"
    sleep 0.1
  done
  [[ $got == "$want" ]] || fail "$*: it said '$got'"
}

# with_servant NAME COMMAND...: each client there is against one servant, which then ends well on SIGTERM.
with_servant() {
  local name=$1 servant
  "${@:2}" 2>"$scratch/servant.log" &
  servant=$!
  pids+=("$servant")
  says "$scratch/by-hand/hello_client" "hello world"
  says "$scratch/cmake/hello_client" "hello world"
  says "$prefix/bin/mserve-client" --quiet 'hello `world' '"hello world"'
  if [[ -n $have_python ]]; then
    says python3 "$examples/hello_client.py" "hello world"$'\n'"hello world from $name"
  fi
  # An error of the servant is an error here, with its text.
  ! "$prefix/bin/mserve-client" 'goodbye 1' >"$scratch/log" 2>&1 || fail "an error is taken for a result"
  grep -qF 'unknown command' "$scratch/log" || fail "the error has lost its text: $(cat "$scratch/log")"
  kill -TERM "$servant"
  wait "$servant" || fail "the servant ended with $?"
  echo "  $1"
}

have_python=$(command -v python3 || true)
echo "== ask and serve"
with_servant hello "$scratch/by-hand/hello_servant"
if [[ -n $have_python ]]; then
  with_servant hello-py python3 "$examples/hello_servant.py"
  quiet python3 "$(dirname "${BASH_SOURCE[0]}")/embedding_test.py" "$prefix/include/mserve.h"
  echo "  Python, its unit tests"
else
  printf '\nSKIP: python3 is not installed\nSKIP: nothing was shown about Python.\n\n'
fi
