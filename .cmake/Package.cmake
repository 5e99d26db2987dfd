# SPDX-License-Identifier: Apache-2.0
# Packages: `cmake --build --preset release --target mserve-packages` puts into build/release/packages
#   mserve, libmserve-dev, libmserve1 and mserve-bench as .deb, where dpkg is,
#   all of it as a tarball that may be unpacked anywhere, and the sources.
# The version is that of project(); the revision counts Debian packages of one version.
if(NOT PROJECT_IS_TOP_LEVEL)
  return()
endif()
set(MSERVE_MAINTAINER "mserve maintainers <maintainers@users.noreply.r-seed-6cbed8ab.example>" CACHE STRING "Maintainer of packages")
set(MSERVE_DEBIAN_REVISION 1 CACHE STRING "Revision of the Debian packages")
set(MSERVE_DEBIAN_VERSION "${PROJECT_VERSION}-${MSERVE_DEBIAN_REVISION}")
set(debian_dir "${PROJECT_SOURCE_DIR}/broker/deploy/debian")

set(CPACK_PACKAGE_NAME mserve)
set(CPACK_PACKAGE_VENDOR "mserve")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_PACKAGE_CONTACT "${MSERVE_MAINTAINER}")
set(CPACK_SYSTEM_NAME "linux-${CMAKE_SYSTEM_PROCESSOR}")
set(CPACK_PACKAGE_CHECKSUM SHA256)
set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
set(CPACK_GENERATOR TGZ)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)

# A source tarball has what a clone has.
set(CPACK_SOURCE_GENERATOR TGZ)
set(CPACK_SOURCE_PACKAGE_FILE_NAME "mserve-${PROJECT_VERSION}")
set(CPACK_SOURCE_STRIP_FILES OFF)
set(CPACK_SOURCE_IGNORE_FILES "^${PROJECT_SOURCE_DIR}/build/" "^${PROJECT_SOURCE_DIR}/\\.git(/|$)" "^${PROJECT_SOURCE_DIR}/\\.cache/"
  "/__pycache__/" "/compile_commands\\.json$")

# Components of the .deb files. The units go where systemd looks for them; elsewhere they are examples.
if(MSERVE_TOOLS)
  file(GLOB units CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/broker/deploy/systemd/*")
  list(FILTER units EXCLUDE REGEX "\\.sysusers$")
  install(FILES ${units} DESTINATION "/lib/systemd/system" COMPONENT debian EXCLUDE_FROM_ALL)
  install(FILES "${PROJECT_SOURCE_DIR}/broker/deploy/systemd/mserve.sysusers" DESTINATION "/usr/lib/sysusers.d"
    RENAME mserve.conf COMPONENT debian EXCLUDE_FROM_ALL)
  install(FILES "${debian_dir}/broker.env" DESTINATION "/etc/mserve" COMPONENT debian EXCLUDE_FROM_ALL)
endif()

# Debian's changelog, and ours, packed without a time.
mserve_source_date(MSERVE_CHANGELOG_DATE "%a, %d %b %Y %H:%M:%S +0000" %cD)
configure_file("${debian_dir}/copyright.in" debian/copyright @ONLY)
configure_file("${debian_dir}/changelog.in" debian/changelog.Debian @ONLY)
configure_file("${PROJECT_SOURCE_DIR}/CHANGELOG.md" debian/changelog COPYONLY)
foreach(file IN ITEMS changelog.Debian changelog)
  execute_process(COMMAND gzip -9nkf "${PROJECT_BINARY_DIR}/debian/${file}")
endforeach()

# mserve_deb(COMPONENT PACKAGE SECTION SUMMARY DESCRIPTION)
function(mserve_deb component package section summary description)
  string(TOUPPER "${component}" upper)
  install(FILES "${PROJECT_BINARY_DIR}/debian/copyright" "${PROJECT_BINARY_DIR}/debian/changelog.Debian.gz"
    "${PROJECT_BINARY_DIR}/debian/changelog.gz" DESTINATION "/usr/share/doc/${package}" COMPONENT debian-${component} EXCLUDE_FROM_ALL)
  foreach(pair IN ITEMS "PACKAGE_NAME ${package}" "FILE_NAME DEB-DEFAULT" "PACKAGE_SECTION ${section}" "PACKAGE_PRIORITY optional")
    string(REGEX MATCH "^([^ ]*) (.*)$" pair "${pair}")
    set(CPACK_DEBIAN_${upper}_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}" PARENT_SCOPE)
  endforeach()
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${description}" PARENT_SCOPE)
endfunction()

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_RELEASE "${MSERVE_DEBIAN_REVISION}")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${MSERVE_MAINTAINER}")
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

mserve_deb(server mserve net "request broker for kdb+ processes on one host"
  "mserve sends each request to the servant whose data is warm for it, through\nshared memory, in about a microsecond. kdb+ clients connect to it as to a q\nprocess, q processes serve behind it unchanged.\n.\nThis package has the broker, a client for the command line, the shim for q\nprocesses, tools for operators, and units for systemd, none of which is\nstarted by the installation.")
mserve_deb(libraries libmserve-dev libdevel "client and servant libraries of the mserve request broker"
  "Headers and static libraries for C++20 programs that ask an mserve broker or\nserve behind it, with packages for CMake and pkg-config, and the C header of\nthe broker's plugins.")
mserve_deb(runtime libmserve1 libs "C library for programs that ask or serve an mserve broker"
  "What programs are linked to that include <mserve.h> of libmserve-dev, and what\nmserve.py loads.")
mserve_deb(benchmarks mserve-bench utils "benchmarks of the mserve request broker"
  "Measures round trips, throughput and latencies of mserve on this machine,\nbeside the fastest that it could do at all and beside other systems.")

# The broker package makes a user as it is installed, and its unit reloads by kill; dependencies on libraries are looked up.
set(CPACK_DEBIAN_SERVER_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_SERVER_PACKAGE_DEPENDS "procps, systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_SERVER_PACKAGE_SUGGESTS "mserve-bench, bash-completion")
set(CPACK_DEBIAN_SERVER_PACKAGE_CONTROL_EXTRA "${debian_dir}/postinst" "${debian_dir}/prerm" "${debian_dir}/postrm" "${debian_dir}/conffiles")
set(CPACK_DEBIAN_LIBRARIES_PACKAGE_DEPENDS "libmserve1 (= ${MSERVE_DEBIAN_VERSION}), libboost1.81-dev, libboost-json1.81-dev")
file(WRITE "${PROJECT_BINARY_DIR}/debian/triggers" "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
file(WRITE "${PROJECT_BINARY_DIR}/debian/shlibs" "libmserve 1 libmserve1\n")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA "${PROJECT_BINARY_DIR}/debian/triggers" "${PROJECT_BINARY_DIR}/debian/shlibs")
set(CPACK_DEBIAN_LIBRARIES_PACKAGE_SUGGESTS "cmake, pkgconf")
set(CPACK_DEBIAN_BENCHMARKS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_BENCHMARKS_PACKAGE_DEPENDS "mserve (= ${MSERVE_DEBIAN_VERSION})")
set(CPACK_DEBIAN_BENCHMARKS_PACKAGE_SUGGESTS "haproxy")

set(CPACK_COMPONENTS_ALL dev debian-libraries capi debian-runtime)
if(MSERVE_TOOLS)
  list(APPEND CPACK_COMPONENTS_ALL tools debian debian-server bench debian-benchmarks)
endif()
include(CPack)
cpack_add_component_group(server)
cpack_add_component_group(libraries)
cpack_add_component_group(benchmarks)
cpack_add_component_group(runtime)
cpack_add_component(capi GROUP runtime)
cpack_add_component(debian-runtime GROUP runtime)
cpack_add_component(dev GROUP libraries)
cpack_add_component(debian-libraries GROUP libraries)
cpack_add_component(tools GROUP server)
cpack_add_component(debian GROUP server)
cpack_add_component(debian-server GROUP server)
cpack_add_component(bench GROUP benchmarks)
cpack_add_component(debian-benchmarks GROUP benchmarks)

find_program(MSERVE_DPKG dpkg-shlibdeps)
find_program(MSERVE_FILE file)  # by which CPack knows what has dependencies
mark_as_advanced(MSERVE_DPKG MSERVE_FILE)
set(generators TGZ)
if(MSERVE_DPKG AND MSERVE_FILE)
  list(APPEND generators DEB)
else()
  message(STATUS "mserve-packages makes no .deb: it takes dpkg-shlibdeps and file (packages dpkg-dev and file)")
endif()
set(parts mserve_client mserve_servant mserve_capi)
if(MSERVE_TOOLS)
  list(APPEND parts mserve-tools)
endif()
if(TARGET mserve-documents)
  list(APPEND parts mserve-documents)
endif()
add_custom_target(mserve-packages
  COMMAND "${CMAKE_CPACK_COMMAND}" --config "${PROJECT_BINARY_DIR}/CPackConfig.cmake" -G "${generators}" -B "${PROJECT_BINARY_DIR}/packages"
  COMMAND "${CMAKE_CPACK_COMMAND}" --config "${PROJECT_BINARY_DIR}/CPackSourceConfig.cmake" -G TGZ -B "${PROJECT_BINARY_DIR}/packages"
  COMMAND "${CMAKE_COMMAND}" -E rm -rf "${PROJECT_BINARY_DIR}/packages/_CPack_Packages"
  DEPENDS ${parts} COMMENT "Packages, into ${PROJECT_BINARY_DIR}/packages" VERBATIM USES_TERMINAL)
