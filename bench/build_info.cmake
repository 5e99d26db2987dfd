# SPDX-License-Identifier: Apache-2.0
# Run at build time, so that the commit in a report is that of the tree that was built. Rewrites
# OUTPUT only when something changed. Wants SOURCE, INPUT, OUTPUT, PROJECT_VERSION and MSERVE_BENCH_*.
set(MSERVE_BENCH_COMMIT "")
find_program(git git)
if(git)
  execute_process(COMMAND "${git}" -C "${SOURCE}" describe --always --dirty --abbrev=12
    OUTPUT_VARIABLE MSERVE_BENCH_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
configure_file("${INPUT}" "${OUTPUT}" @ONLY)
