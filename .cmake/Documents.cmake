# SPDX-License-Identifier: Apache-2.0
# Man pages and bash completion, made of what the tools that were just built say of themselves. A sanitized build is
# not meant to be installed, and a cross-built tool cannot be asked.
if(NOT MSERVE_INSTALL OR NOT MSERVE_TOOLS OR MSERVE_SANITIZE OR CMAKE_CROSSCOMPILING)
  return()
endif()
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)

mserve_source_date(MSERVE_DATE "%Y-%m-%d" %cs)

set(documents_dir "${PROJECT_SOURCE_DIR}/.cmake")
file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/man" "${PROJECT_BINARY_DIR}/completion")
set(documents)

# mserve_man(SOURCE [TOOL TARGET] [INCLUDES FILE...] [COMPONENT NAME])
# SOURCE is FOLDER/NAME.SECTION.md, INCLUDES are other documents that it takes parts of.
function(mserve_man source)
  cmake_parse_arguments(arg "" "TOOL;COMPONENT" "INCLUDES" ${ARGN})
  get_filename_component(page "${source}" NAME)
  string(REGEX REPLACE "\\.md$" "" page "${page}")
  string(REGEX REPLACE "^.*\\." "" section "${page}")
  set(output "${PROJECT_BINARY_DIR}/man/${page}")
  set(tool)
  if(arg_TOOL)
    set(tool --tool "$<TARGET_FILE:${arg_TOOL}>")
  endif()
  list(TRANSFORM arg_INCLUDES PREPEND "${PROJECT_SOURCE_DIR}/")
  add_custom_command(OUTPUT "${output}" "${output}.gz"
    COMMAND Python3::Interpreter -B "${documents_dir}/man_page.py" "${PROJECT_SOURCE_DIR}/${source}" "${output}"
      --version "${PROJECT_VERSION}" --date "${MSERVE_DATE}" ${tool}
    DEPENDS "${PROJECT_SOURCE_DIR}/${source}" ${arg_INCLUDES} "${documents_dir}/man_page.py" "${documents_dir}/help_text.py" ${arg_TOOL}
    COMMENT "Man page ${page}" VERBATIM)
  install(FILES "${output}.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man${section}" COMPONENT ${arg_COMPONENT})
  set(documents ${documents} "${output}.gz" PARENT_SCOPE)
endfunction()

# mserve_completion(TARGET COMPONENT NAME)
function(mserve_completion tool)
  cmake_parse_arguments(arg "" "COMPONENT" "" ${ARGN})
  set(output "${PROJECT_BINARY_DIR}/completion/${tool}")
  add_custom_command(OUTPUT "${output}"
    COMMAND Python3::Interpreter -B "${documents_dir}/completion.py" "$<TARGET_FILE:${tool}>" "${output}"
    DEPENDS "${documents_dir}/completion.py" "${documents_dir}/help_text.py" ${tool}
    COMMENT "Bash completion of ${tool}" VERBATIM)
  install(FILES "${output}" DESTINATION "${CMAKE_INSTALL_DATADIR}/bash-completion/completions" COMPONENT ${arg_COMPONENT})
  set(documents ${documents} "${output}" PARENT_SCOPE)
endfunction()

foreach(tool IN ITEMS broker/mserve-broker broker/mserve-cluster broker/mserve-stat broker/mserve-pin qclient/mserve-client
    servantshim/mserve-servant servantshim/mserve-qshim bench/mserve-bench)
  get_filename_component(name "${tool}" NAME)
  get_filename_component(module "${tool}" DIRECTORY)
  set(component tools)
  if(module STREQUAL "bench")
    set(component bench)
  endif()
  mserve_man(${module}/man/${name}.1.md TOOL ${name} COMPONENT ${component})
  mserve_completion(${name} COMPONENT ${component})
endforeach()
mserve_man(bench/man/mserve-bench-parts.1.md COMPONENT bench)
mserve_man(broker/man/mserve.toml.5.md TOOL mserve-broker COMPONENT tools)
mserve_man(broker/man/mserve-from-q-scripts.7.md COMPONENT tools INCLUDES README.md broker/README.md)
mserve_man(shm/man/mserve-protocol.7.md COMPONENT tools INCLUDES shm/README.md shm/include/mserve/shm/errc.hpp)
add_custom_target(mserve-documents ALL DEPENDS ${documents})
