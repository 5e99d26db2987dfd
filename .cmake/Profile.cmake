# SPDX-License-Identifier: Apache-2.0
# mserve_hot(TARGET SOURCES ... INCLUDE ... LINK ...)
# An object library of what is on the hot path.
function(mserve_hot target)
  cmake_parse_arguments(arg "" "" "SOURCES;INCLUDE;LINK" ${ARGN})
  add_library(${target} OBJECT ${arg_SOURCES})
  target_include_directories(${target} PRIVATE ${arg_INCLUDE})
  target_link_libraries(${target} PRIVATE ${arg_LINK})
  mserve_defaults(${target})
endfunction()

# mserve_profiled(TARGET TRAINER NAME SOURCES ... TRAINER_SOURCES ... INCLUDE ... LINK ...)
# The same with MSERVE_PGO (g++), as one translation unit that is compiled twice: first into the program NAME, which counts which ways are
# taken while it runs what TRAINER_SOURCES say, then by these counts, so that what is taken lies side by side and calls on it are none.
# A function that the trainer never came to is compiled as if there were no profile; a branch that it never took lies out of the way.
function(mserve_profiled target)
  cmake_parse_arguments(arg "" "TRAINER" "SOURCES;TRAINER_SOURCES;INCLUDE;LINK" ${ARGN})
  set(counted ${target}_counted)
  set(folder "${CMAKE_CURRENT_BINARY_DIR}/profile")
  set(counts "${folder}/${target}.gcda")
  set(unit "// Made by the build.\n")
  foreach(source IN LISTS arg_SOURCES)
    string(APPEND unit "#include \"${source}\"\n")
  endforeach()
  foreach(each IN ITEMS ${target} ${counted})
    file(CONFIGURE OUTPUT "${folder}/${each}.cpp" CONTENT "${unit}" @ONLY)
    mserve_hot(${each} SOURCES "${folder}/${each}.cpp" INCLUDE ${arg_INCLUDE} LINK ${arg_LINK})
    # Both times by one name: by it g++ tells functions that only this unit knows, and calls the file of counts.
    target_compile_options(${each} PRIVATE -dumpdir "${folder}/" -dumpbase "${target}.cpp" -dumpbase-ext .cpp)
  endforeach()
  target_compile_options(${counted} PRIVATE -fprofile-generate -fprofile-update=single)
  # g++ 12 takes what it inlines of concurrentqueue.h by a profile for an overflow.
  target_compile_options(${target} PRIVATE -fprofile-use -fprofile-partial-training -Wno-stringop-overflow)
  set_source_files_properties("${folder}/${target}.cpp" PROPERTIES OBJECT_DEPENDS "${counts}")

  add_executable(${arg_TRAINER} ${arg_TRAINER_SOURCES} $<TARGET_OBJECTS:${counted}>)
  target_include_directories(${arg_TRAINER} PRIVATE ${arg_INCLUDE})
  target_link_libraries(${arg_TRAINER} PRIVATE ${arg_LINK})
  target_link_options(${arg_TRAINER} PRIVATE -fprofile-generate)
  mserve_defaults(${arg_TRAINER})
  add_custom_command(OUTPUT "${counts}"
    COMMAND ${CMAKE_COMMAND} -E rm -f "${counts}"
    COMMAND ${arg_TRAINER}
    DEPENDS ${arg_TRAINER} VERBATIM COMMENT "Counting which ways ${target} takes")
endfunction()
