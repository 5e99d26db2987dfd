#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The bench's own set-up step: installs what it measures mserve against (ZeroMQ, nng, HAProxy) and builds
# mserve-bench with it. Debian 12; needs root or sudo for what is missing. Options go to cmake.
#   bench/setup.sh && build/release/bin/mserve-bench peers
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=broker/deploy/packages.sh
. broker/deploy/packages.sh
mserve_install_packages build test peers
cmake --preset release -DMSERVE_BENCH_PEERS=ON "$@"
cmake --build build/release --target mserve-bench mserve-broker mserve-qshim mserve-standin
echo "build/release/bin/mserve-bench peers  measures; bench/README.md tells how to read it"
