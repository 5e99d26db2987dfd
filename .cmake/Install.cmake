# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` adds to the targets themselves: a CMake package and pkg-config files. Both find
# the rest of the installation relative to themselves, so an installed tree may be moved or packaged.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/mserve")
install(EXPORT mserveTargets NAMESPACE mserve:: DESTINATION "${package_dir}" COMPONENT dev)
configure_package_config_file("${PROJECT_SOURCE_DIR}/.cmake/mserveConfig.cmake.in" mserveConfig.cmake
  INSTALL_DESTINATION "${package_dir}")
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(mserveConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/mserveConfig.cmake" "${PROJECT_BINARY_DIR}/mserveConfigVersion.cmake"
  DESTINATION "${package_dir}" COMPONENT dev)
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT licence)
# Man pages and messages name these documents; they link to one another as here.
if(MSERVE_TOOLS)
  foreach(document IN ITEMS README.md broker/README.md broker/affinity.svg broker/deploy/README.md qclient/README.md qclient/kdb/README.md
      servantshim/README.md shm/README.md bench/README.md bench/peers.svg)
    get_filename_component(folder "${document}" DIRECTORY)
    install(FILES "${PROJECT_SOURCE_DIR}/${document}" DESTINATION "${CMAKE_INSTALL_DOCDIR}/${folder}" COMPONENT tools)
  endforeach()
endif()

# To start from, under the names that README and the libraries' own documents have.
install(FILES "${PROJECT_SOURCE_DIR}/qclient/examples/hello_client.cpp" "${PROJECT_SOURCE_DIR}/qclient/examples/hello_node.js"
  "${PROJECT_SOURCE_DIR}/servantshim/examples/hello_servant.cpp" "${PROJECT_SOURCE_DIR}/qclient/capi/examples/hello_client.c"
  "${PROJECT_SOURCE_DIR}/qclient/capi/examples/hello_servant.c" "${PROJECT_SOURCE_DIR}/qclient/capi/python/hello_client.py"
  "${PROJECT_SOURCE_DIR}/qclient/capi/python/hello_servant.py" DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples" COMPONENT dev)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/broker/examples/plugins" DESTINATION "${CMAKE_INSTALL_DOCDIR}/examples" COMPONENT dev)

# The libraries are static: what they need must be on the link line of whoever uses them, so it stands in
# Libs and Requires, and `pkg-config --libs` is enough without --static.
file(RELATIVE_PATH pc_prefix "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
function(mserve_pkgconfig pc_name)
  cmake_parse_arguments(pc "" "description;requires;libs" "" ${ARGN})
  configure_file("${PROJECT_SOURCE_DIR}/.cmake/mserve.pc.in" mserve-${pc_name}.pc @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/mserve-${pc_name}.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT dev)
endfunction()

mserve_pkgconfig(shm libs "-pthread" description "Shared-memory segments and rings of mserve")
mserve_pkgconfig(kdb libs "-lboost_json" description "kdb+ IPC values, codec, q text parser and printer")
mserve_pkgconfig(client requires "mserve-shm, mserve-kdb" description "Client library of the mserve broker")
mserve_pkgconfig(servant requires "mserve-shm, mserve-kdb" description "Servant SDK of the mserve broker")

# The C interface is one shared library: whoever links it needs nothing else, whatever it is made of.
if(TARGET mserve_capi)
  configure_file("${PROJECT_SOURCE_DIR}/.cmake/mserve-c.pc.in" mserve.pc @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/mserve.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT dev)
endif()
