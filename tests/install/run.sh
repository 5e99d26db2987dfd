#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Goal: a stranger can use each installed library, through CMake and through pkg-config, wherever the tree
#       was moved to, and can take mserve as a subproject.
# Method: install a finished build into a temporary directory, move it, build and run small consumers.
set -euo pipefail
shopt -s nullglob

if (($# != 3)); then
  echo "usage: tests/install/run.sh SOURCE_DIR BUILD_DIR CXX   (a finished build; ctest passes these)" >&2
  exit 2
fi
source_dir=$1 build_dir=$2 cxx=$3
consumer_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/consumer" && pwd)
libraries=(shm kdb client servant)

temporary=$(mktemp -d /tmp/mserve-install.XXXXXX)
trap 'rm -rf "$temporary"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

# Runs a step silently; on failure shows what it printed.
quiet() {
  "$@" >"$temporary/log" 2>&1 || { cat "$temporary/log" >&2; fail "$*"; }
}

echo "== install, then move"
quiet cmake --install "$build_dir" --prefix "$temporary/first"
mv "$temporary/first" "$temporary/moved"
prefix=$temporary/moved
! grep -rlF -e "$source_dir" -e "$build_dir" -e "$temporary/first" --include='*.cmake' --include='*.pc' "$prefix" ||
  fail "these files name a directory of the builder's machine"
! find "$prefix/include" -type f ! -path "$prefix/include/mserve/*" ! -path "$prefix/include/mserve.h" | grep . ||
  fail "these headers are neither mserve.h nor in include/mserve"
for tool in "$build_dir"/bin/mserve-*; do
  grep -qxF "${tool##*/}" "$build_dir/tests/own_programs" && continue
  [[ -x $prefix/bin/${tool##*/} ]] || fail "${tool##*/} is not installed"
done

for page in "$build_dir"/man/*.gz; do
  find "$prefix/share/man" -name "${page##*/}" | grep -q . || fail "${page##*/} is not installed"
done
for unit in "$source_dir"/broker/deploy/systemd/*; do
  find "$prefix" -name "${unit##*/}" | grep -q . || fail "${unit##*/} is not installed"
done

echo "== hardened"
# The benchmarks of parts call nothing of the C library that could be checked.
find "$prefix/bin" -name 'mserve-*' ! -name mserve-bench-parts -exec "$source_dir/tests/install/elf.sh" {} +

echo "== find_package(mserve CONFIG)"
quiet cmake -S "$consumer_dir" -B "$temporary/cmake" -G Ninja -DCMAKE_CXX_COMPILER="$cxx" \
  -DCMAKE_PREFIX_PATH="$prefix"
quiet cmake --build "$temporary/cmake"
for library in "${libraries[@]}"; do
  quiet "$temporary/cmake/use-$library"
  echo "  $library"
done

echo "== pkg-config"
PKG_CONFIG_PATH=$(find "$prefix" -type d -name pkgconfig)
export PKG_CONFIG_PATH
for library in "${libraries[@]}"; do
  read -ra cflags < <(pkg-config --cflags "mserve-$library")
  read -ra libs < <(pkg-config --libs "mserve-$library")
  quiet "$cxx" -std=c++20 "${cflags[@]}" "$consumer_dir/use_$library.cpp" "${libs[@]}" -o "$temporary/use-$library"
  quiet "$temporary/use-$library"
  echo "  $library"
done
# As README.md says it.
examples=$prefix/share/doc/mserve/examples
for example in hello_client hello_servant; do
  read -ra flags < <(pkg-config --cflags --libs "mserve-${example##*_}")
  quiet "$cxx" -std=c++20 "$examples/$example.cpp" "${flags[@]}" -o "$temporary/$example"
  echo "  $example"
done

echo "== plugins"
# In C alone; their header comes with the broker.
umask 022  # what others may write is not loaded
examples+=/plugins
broker=$prefix/bin/mserve-broker
# try_plugins FOLDER: the installed broker takes both that were built there.
try_plugins() {
  quiet "$broker" --check -p 0W --policy-plugin "$1/newest.so" --route-plugin "$1/month.so"
  grep -qxF 'policy = "plugin"' "$temporary/log" || fail "the policy is not the plugin's"
}
if [[ -x $broker ]]; then
  quiet cmake -S "$examples" -B "$temporary/plugins" -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
  quiet cmake --build "$temporary/plugins"
  try_plugins "$temporary/plugins"
  echo "  CMake"
  mkdir "$temporary/by-hand"
  for plugin in newest month; do
    quiet cc -std=c99 -pedantic -Wall -Wextra -Werror -shared -fPIC -I "$prefix/include" "$examples/$plugin.c" \
      -o "$temporary/by-hand/$plugin.so"
  done
  try_plugins "$temporary/by-hand"
  # As somebody has them who goes on to a later version and keeps what was built.
  sed 's/^#define MSERVE_PLUGIN_ABI .*/#define MSERVE_PLUGIN_ABI 9U/' "$prefix/include/mserve/plugin.h" >"$temporary/by-hand/plugin.h"
  sed 's|"mserve/plugin.h"|"plugin.h"|' "$examples/newest.c" >"$temporary/by-hand/newest.c"
  quiet cc -std=c99 -shared -fPIC "$temporary/by-hand/newest.c" -o "$temporary/by-hand/newest.so"
  ! "$broker" --check --policy-plugin "$temporary/by-hand/newest.so" >"$temporary/log" 2>&1 ||
    fail "a plugin of another version is taken"
  grep -qF "plugin 'newest' is made for plugin version 9, this broker takes version 1" "$temporary/log" ||
    fail "a plugin of another version is not refused by name: $(cat "$temporary/log")"
  echo "  compiler alone, and another version"
fi

echo "== add_subdirectory"
mkdir "$temporary/parent"
cat >"$temporary/parent/CMakeLists.txt" <<TEXT
cmake_minimum_required(VERSION 3.25)
project(parent LANGUAGES C CXX)
add_subdirectory("$source_dir" mserve)
foreach(tool mserve-broker mserve-client mserve-cluster mserve-servant mserve-bench mserve-stat mserve-pin)
  if(TARGET \${tool})
    message(FATAL_ERROR "\${tool} is built although mserve is a subproject")
  endif()
endforeach()
add_executable(use-client "$consumer_dir/use_client.cpp")
target_link_libraries(use-client PRIVATE mserve::client)
TEXT
quiet cmake -S "$temporary/parent" -B "$temporary/parent/build" -G Ninja -DCMAKE_CXX_COMPILER="$cxx"
echo "  configured"
