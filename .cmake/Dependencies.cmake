# SPDX-License-Identifier: Apache-2.0
# Everything from outside, all of it packaged by Debian 12 (broker/deploy/packages.sh). The libraries
# need Boost alone; the rest is for our own executables.
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json)

if(MSERVE_TOOLS)
  find_package(CLI11 2.1 REQUIRED)
  find_package(fmt 9 REQUIRED)
  find_package(spdlog 1.10 REQUIRED)
  find_package(ConcurrentQueue REQUIRED)
  find_package(benchmark REQUIRED)
  # Replaces the allocator under a whole process, so sanitized builds, which bring their own, go without.
  if(NOT MSERVE_SANITIZE)
    find_package(mimalloc 2.0 REQUIRED)
  endif()
endif()
