# SPDX-License-Identifier: Apache-2.0
# What a builder may choose. As a subproject only the libraries are built.
option(MSERVE_TOOLS "Build the broker, the command-line tools and the benchmark" ${PROJECT_IS_TOP_LEVEL})
option(MSERVE_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(MSERVE_INSTALL "Generate install rules" ${PROJECT_IS_TOP_LEVEL})
option(MSERVE_WERROR "Treat warnings as errors (CI does)" OFF)
option(MSERVE_BENCH_PEERS "Let mserve-bench measure ZeroMQ and nng too; bench/setup.sh installs them" OFF)
option(MSERVE_FUZZ "Build the libFuzzer targets (clang only)" OFF)
set(MSERVE_UNIT_DIR "" CACHE STRING "Where systemd units are installed, such as lib/systemd/system; empty: share/mserve/systemd, as examples")
set(MSERVE_SANITIZE "" CACHE STRING "Sanitizers for every target: 'address,undefined' or 'thread'")

# Not where the result could not run, nor where nobody measures. -dumpbase-ext came with g++ 11.
include(CMakeDependentOption)
cmake_dependent_option(MSERVE_PGO "Compile the data thread by a profile of it that the build makes (g++; takes half a minute)" ON
  "PROJECT_IS_TOP_LEVEL;CMAKE_CXX_COMPILER_ID STREQUAL GNU;CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 11;CMAKE_BUILD_TYPE STREQUAL Release;NOT MSERVE_SANITIZE;NOT CMAKE_CROSSCOMPILING"
  OFF)

list(APPEND CMAKE_MODULE_PATH "${PROJECT_SOURCE_DIR}/.cmake")

if(MSERVE_FUZZ AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "MSERVE_FUZZ needs clang (libFuzzer); use the 'asan' preset")
endif()
if(MSERVE_FUZZ AND NOT MSERVE_SANITIZE MATCHES "address")
  message(FATAL_ERROR "MSERVE_FUZZ needs MSERVE_SANITIZE=address,undefined: without it faults stay silent")
endif()
