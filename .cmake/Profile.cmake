# SPDX-License-Identifier: Apache-2.0
# mserve_profiled(TARGET SOURCES ... TRAINER ... LINK ... INCLUDE ...)
# An object library of what is on the hot path, as one translation unit. With MSERVE_PGO (g++) it is built twice: first into a program
# that counts, together with the TRAINER's sources, whose run tells which ways are taken; then by that, so that they lie side by side, and
# calls on them are none. What the trainer never came to is compiled as if there were no profile.
function(mserve_profiled target)
  cmake_parse_arguments(arg "" "" "SOURCES;TRAINER;LINK;INCLUDE" ${ARGN})
  function(add_hot name)
    add_library(${name} OBJECT ${arg_SOURCES})
    target_include_directories(${name} PRIVATE ${arg_INCLUDE})
    target_link_libraries(${name} PRIVATE ${arg_LINK})
    mserve_defaults(${name})
  endfunction()
  add_hot(${target})
  if(NOT MSERVE_PGO)
    return()
  endif()
  set(counted ${target}_counted)
  add_hot(${counted})
  # One unit, that both times goes by one name: by it g++ tells functions that only this unit knows, and calls the file of counts.
  set_target_properties(${target} ${counted} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/profile")
  file(MAKE_DIRECTORY "${folder}")
  set(counts "${folder}/${target}.gcda")
  set(name -dumpdir "${folder}/" -dumpbase "${target}.cpp" -dumpbase-ext .cpp)
  target_compile_options(${counted} PRIVATE ${name} -fprofile-generate -fprofile-update=single)
  # g++ 12 takes what it inlines of concurrentqueue.h by a profile for an overflow.
  target_compile_options(${target} PRIVATE ${name} -fprofile-use -fprofile-partial-training -Wno-stringop-overflow)

  set(trainer mserve-broker-train)
  add_executable(${trainer} ${arg_TRAINER} $<TARGET_OBJECTS:${counted}>)
  target_include_directories(${trainer} PRIVATE ${arg_INCLUDE})
  target_link_libraries(${trainer} PRIVATE ${arg_LINK})
  target_link_options(${trainer} PRIVATE -fprofile-generate)
  mserve_defaults(${trainer})
  add_custom_command(OUTPUT "${counts}"
    COMMAND ${CMAKE_COMMAND} -E rm -f "${counts}"
    COMMAND ${trainer}
    DEPENDS ${trainer} VERBATIM COMMENT "Counting which ways the data thread takes")
  add_custom_target(${target}_profile DEPENDS "${counts}")
  add_dependencies(${target} ${target}_profile)
endfunction()
