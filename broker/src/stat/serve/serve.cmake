# SPDX-License-Identifier: Apache-2.0
# `mserve-stat serve`, and what it shares with the other subcommands, as a library, so that tests can link it. The files
# of the page are built in: nothing is read at run time.
set(page_dir "${CMAKE_CURRENT_LIST_DIR}/../page")
foreach(part IN ITEMS "HTML page.html" "STYLE page.css" "SCRIPT page.js")
  string(REPLACE " " ";" part "${part}")
  list(GET part 0 word)
  list(GET part 1 file)
  file(READ "${page_dir}/${file}" MSERVE_PAGE_${word})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${page_dir}/${file}")
endforeach()
configure_file("${CMAKE_CURRENT_LIST_DIR}/page.cpp.in" generated/stat_page.cpp @ONLY)

# For Grafana, Prometheus and HAProxy, to be copied to where these look.
if(MSERVE_INSTALL)
  install(FILES deploy/grafana-dashboard.json deploy/prometheus-rules.yml deploy/haproxy.cfg DESTINATION "${CMAKE_INSTALL_DATADIR}/mserve" COMPONENT tools)
endif()

file(GLOB serve_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.cpp")
set(shared_sources cluster_call cluster_view control_call counters_call live_broker monitor_call tables text top_view)
list(TRANSFORM shared_sources REPLACE "(.+)" "${CMAKE_CURRENT_SOURCE_DIR}/src/stat/\\1.cpp")
list(REMOVE_ITEM stat_sources ${shared_sources})
add_library(mserve_stat_serve STATIC ${serve_sources} ${shared_sources} "${CMAKE_CURRENT_SOURCE_DIR}/src/cluster/json_fields.cpp" "${CMAKE_CURRENT_BINARY_DIR}/generated/stat_page.cpp")
target_include_directories(mserve_stat_serve PUBLIC src PRIVATE ${MSERVE_VERSION_DIR})
target_link_libraries(mserve_stat_serve PUBLIC mserve::shm mserve::kdb PRIVATE Boost::headers Boost::json CLI11::CLI11)
mserve_defaults(mserve_stat_serve)
target_compile_definitions(mserve_stat_serve PRIVATE _GLIBCXX_ASSERTIONS)  # it reads what others wrote, and is in nobody's way
