// SPDX-License-Identifier: Apache-2.0
// mserve-bench-parts: the parts of mserve by themselves, one file of this folder for each.
#include <benchmark/benchmark.h>

BENCHMARK_MAIN();
