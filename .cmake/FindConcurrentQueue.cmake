# SPDX-License-Identifier: Apache-2.0
# moodycamel's queue is a header without a CMake package. Debian puts it below concurrentqueue/, upstream's
# own install below concurrentqueue/moodycamel/, some distributions below moodycamel/. Whichever it is,
# #include <concurrentqueue.h> works through ConcurrentQueue::ConcurrentQueue, as a system header.
find_path(ConcurrentQueue_INCLUDE_DIR concurrentqueue.h
  PATH_SUFFIXES concurrentqueue concurrentqueue/moodycamel moodycamel)
mark_as_advanced(ConcurrentQueue_INCLUDE_DIR)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ConcurrentQueue REQUIRED_VARS ConcurrentQueue_INCLUDE_DIR)

if(ConcurrentQueue_FOUND AND NOT TARGET ConcurrentQueue::ConcurrentQueue)
  add_library(ConcurrentQueue::ConcurrentQueue INTERFACE IMPORTED)
  get_filename_component(ConcurrentQueue_parent_dir "${ConcurrentQueue_INCLUDE_DIR}" DIRECTORY)
  set(ConcurrentQueue_dirs "${ConcurrentQueue_INCLUDE_DIR}")
  # Also <concurrentqueue/concurrentqueue.h>, unless that parent is the compiler's own /usr/include:
  # naming it again would break the order of #include_next.
  if(NOT ConcurrentQueue_parent_dir IN_LIST CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES)
    list(APPEND ConcurrentQueue_dirs "${ConcurrentQueue_parent_dir}")
  endif()
  set_target_properties(ConcurrentQueue::ConcurrentQueue PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${ConcurrentQueue_dirs}")
  target_link_libraries(ConcurrentQueue::ConcurrentQueue INTERFACE Threads::Threads)
endif()
