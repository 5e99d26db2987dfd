# SPDX-License-Identifier: Apache-2.0
# Helpers every folder uses, so that warnings, sanitizers, visibility and installation are decided once.
include(GNUInstallDirs)

add_custom_target(mserve-tools COMMENT "Executables for users")

# What makes a fault of ours harder to use; tests/install/elf.sh looks for it in what is installed. It costs a
# few instructions per call; checks of each index (_GLIBCXX_ASSERTIONS) would cost more, so only programs off the hot path get them.
# Position independent executables are asked for here because CMake compiles for them but does not link them by itself.
include(CheckPIESupported)
check_pie_supported()
include(CheckCXXCompilerFlag)
set(MSERVE_HARDENING -fstack-protector-strong -fstack-clash-protection)
check_cxx_compiler_flag(-fcf-protection MSERVE_HAS_CF_PROTECTION)
if(MSERVE_HAS_CF_PROTECTION)
  list(APPEND MSERVE_HARDENING -fcf-protection)
endif()
# The C library checks only what is optimised, and sanitizers check more.
list(APPEND MSERVE_HARDENING $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-U_FORTIFY_SOURCE> $<$<CONFIG:Release,RelWithDebInfo,MinSizeRel>:-D_FORTIFY_SOURCE=2>)

# mserve_compile_cold(TARGET)
# Those of the target's sources that take command lines or sockets through header-only libraries are off the hot path: they become an
# object library TARGET_cold, hardly optimised. Optimising these headers took a fifth of what CI has time for.
function(mserve_compile_cold target)
  if(target MATCHES "bench")  # whose commands hold what measures
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  set(cold)
  foreach(source IN LISTS sources)
    if(source MATCHES "\\.cpp$")
      file(REAL_PATH "${source}" path BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
      file(STRINGS "${path}" found REGEX "^#include <(CLI|boost/(asio|beast))/" LIMIT_COUNT 1)
      if(found)
        list(APPEND cold "${source}")
      endif()
    endif()
  endforeach()
  if(NOT cold)
    return()
  endif()
  list(REMOVE_ITEM sources ${cold})
  set(cold_target ${target}_cold)
  add_library(${cold_target} OBJECT ${cold})
  set_property(TARGET ${target} PROPERTY SOURCES ${sources} $<TARGET_OBJECTS:${cold_target}>)
  target_compile_features(${cold_target} PRIVATE cxx_std_20)
  set_target_properties(${cold_target} PROPERTIES
    CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${cold_target} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
  target_compile_definitions(${cold_target} PRIVATE $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
  target_compile_options(${cold_target} PRIVATE $<TARGET_PROPERTY:${target},COMPILE_OPTIONS> $<$<CONFIG:Release>:-O1>)
  if(MSERVE_SANITIZE)
    target_compile_options(${cold_target} PRIVATE -O0)
  endif()
endfunction()

# mserve_unoptimised_when_sanitized(TARGET...)
# For targets none of which serves or is fuzzed: sanitizers find as much in them, and the compiler is done in half of the time.
function(mserve_unoptimised_when_sanitized)
  if(MSERVE_SANITIZE)
    foreach(target IN LISTS ARGN)
      target_compile_options(${target} PRIVATE -O0 $<$<BOOL:${MSERVE_FUZZ}>:-fno-sanitize=fuzzer-no-link>)
    endforeach()
  endif()
endfunction()

# Applies language level, warnings, hardening and sanitizers to one target of ours.
function(mserve_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>  # g++ 12 takes "text" + string() for an overlap (GCC PR 105651)
    $<$<BOOL:${MSERVE_WERROR}>:-Werror>)
  if(NOT MSERVE_SANITIZE)
    target_compile_options(${target} PRIVATE ${MSERVE_HARDENING})
  else()
    target_compile_options(${target} PRIVATE -fsanitize=${MSERVE_SANITIZE} -fno-omit-frame-pointer
      -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=${MSERVE_SANITIZE})
  endif()
  mserve_compile_cold(${target})
  if(MSERVE_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# mserve_library(NAME HEADERS ... SOURCES ... LINK ... PRIVATE_LINK ...)
# A library with public headers below include/ and private ones below src/; each public one is proved
# to stand alone. Installed and exported as mserve::NAME.
# Boost's headers are needed to build us, never to use us.
function(mserve_library name)
  cmake_parse_arguments(arg "" "" "HEADERS;SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  list(TRANSFORM arg_PRIVATE_LINK REPLACE "^Boost::headers$" "$<BUILD_INTERFACE:Boost::headers>")
  set(target mserve_${name})
  add_library(${target} ${arg_SOURCES})
  add_library(mserve::${name} ALIAS ${target})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS include FILES ${arg_HEADERS})
  set_target_properties(${target} PROPERTIES
    EXPORT_NAME ${name} OUTPUT_NAME mserve-${name} VERIFY_INTERFACE_HEADER_SETS ON)
  target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/src")
  target_link_libraries(${target} PUBLIC ${arg_LINK} PRIVATE ${arg_PRIVATE_LINK})
  mserve_defaults(${target})
  if(MSERVE_INSTALL)
    install(TARGETS ${target} EXPORT mserveTargets COMPONENT dev FILE_SET HEADERS COMPONENT dev)
  endif()
endfunction()

# Nothing calls mimalloc by name, so Debian's linker, which drops libraries nobody refers to, would drop it.
set(CMAKE_CXX_LINK_LIBRARY_USING_mserve_kept
  "LINKER:--push-state,--no-as-needed" "<LINK_ITEM>" "LINKER:--pop-state")
set(CMAKE_CXX_LINK_LIBRARY_USING_mserve_kept_SUPPORTED TRUE)

# version.hpp, for whatever tells its version: mserve_tool() and who asks for this folder.
set(MSERVE_VERSION_DIR "${PROJECT_BINARY_DIR}/generated")
configure_file(.cmake/version.hpp.in "${MSERVE_VERSION_DIR}/version.hpp" @ONLY)

# mserve_tool(mserve-NAME SOURCES ... LINK ... [COMPONENT NAME])
# An executable of ours, unless MSERVE_TOOLS is off; all of them end up in bin/, of the build tree and of the
# installation. COMPONENT says in which package (.cmake/Package.cmake).
function(mserve_tool name)
  if(NOT MSERVE_TOOLS)
    return()
  endif()
  cmake_parse_arguments(arg "" "COMPONENT" "SOURCES;LINK" ${ARGN})
  if(NOT arg_COMPONENT)
    set(arg_COMPONENT tools)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
  target_include_directories(${name} PRIVATE "${MSERVE_VERSION_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
  mserve_defaults(${name})
  target_link_options(${name} PRIVATE LINKER:-z,relro,-z,now,-z,noexecstack)
  if(TARGET mimalloc)
    target_link_libraries(${name} PRIVATE $<LINK_LIBRARY:mserve_kept,mimalloc>)
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/shm/src/program/operator_new.cpp)
    # Next to code that calls it, g++ takes what it replaces for the library's own.
    set_source_files_properties(${PROJECT_SOURCE_DIR}/shm/src/program/operator_new.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endif()
  add_dependencies(mserve-tools ${name})
  if(MSERVE_INSTALL)
    install(TARGETS ${name} COMPONENT ${arg_COMPONENT})
  endif()
endfunction()

# mserve_fuzz(mserve-fuzz-NAME SOURCES ... LINK ...)
# A libFuzzer target, in fuzz/ of the build tree; CI runs whatever it finds there for a short while.
function(mserve_fuzz name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE ${arg_LINK})
  target_include_directories(${name} PRIVATE "${MSERVE_VERSION_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/fuzz")
  mserve_defaults(${name})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
endfunction()

# mserve_source_date(VARIABLE FORMAT GIT_FORMAT)
# The date of the sources, in the form FORMAT of string(TIMESTAMP) and GIT_FORMAT of git, so that two builds of them are alike;
# that of today where neither git nor SOURCE_DATE_EPOCH knows one.
function(mserve_source_date variable format git_format)
  set(date)
  if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
    execute_process(COMMAND git -C "${PROJECT_SOURCE_DIR}" log -1 --format=${git_format} OUTPUT_VARIABLE date
      OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(NOT date)
    string(TIMESTAMP date "${format}" UTC)
  endif()
  set(${variable} "${date}" PARENT_SCOPE)
endfunction()
