// SPDX-License-Identifier: Apache-2.0
// mserve-bench: what mserve costs on this machine; bench/README.md tells how to read it.
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>

#include "command_line.hpp"
#include "interrupt.hpp"
#include "report.hpp"
#include "run.hpp"
#include "trips.hpp"

namespace {

using mserve::bench::Command;
using mserve::bench::CommandLine;

void write_file(const std::string& file, const std::string& text) {
  if (file == "-") {
    (void)std::fputs(text.c_str(), stdout);
    return;
  }
  std::ofstream out(file);
  out << text << std::flush;
  if (!out) {
    throw std::runtime_error("cannot write " + file);
  }
}

int run_affinity(const CommandLine& line) {
  const mserve::bench::AffinityReport report = mserve::bench::run_affinity(line.affinity);
  if (mserve::bench::interrupted()) {
    (void)std::fputs("mserve-bench: interrupted\n", stderr);
    return 128 + mserve::bench::g_interrupted.load(std::memory_order_relaxed);
  }
  if (!line.json_file.empty()) {
    write_file(line.json_file, mserve::bench::to_json(report));
  }
  if (!line.svg_file.empty()) {
    write_file(line.svg_file, mserve::bench::to_svg(report));
  }
  return 0;
}

int run(const CommandLine& line) {
  if (line.command == Command::echo_servant) {
    mserve::bench::serve_echo(line.echo, line.ready_fd);
    return 0;
  }
  if (line.command == Command::kdb) {
    const std::string json = mserve::bench::run_kdb(line.kdb);
    if (!line.json_file.empty() && !mserve::bench::interrupted()) {
      write_file(line.json_file, json);
    }
    return mserve::bench::interrupted()
               ? 128 + mserve::bench::g_interrupted.load(std::memory_order_relaxed)
               : 0;
  }
  if (line.command == Command::affinity) {
    return run_affinity(line);
  }
  const mserve::bench::Report report = line.command == Command::floor
                                           ? mserve::bench::run_floor(line.settings)
                                           : mserve::bench::run_rtt(line.settings);
  if (mserve::bench::interrupted()) {
    (void)std::fputs("mserve-bench: interrupted\n", stderr);
    return 128 + mserve::bench::g_interrupted.load(std::memory_order_relaxed);
  }
  if (!line.json_file.empty()) {
    write_file(line.json_file, mserve::bench::to_json(report));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    CommandLine line;
    if (const auto exit_code = mserve::bench::read_command_line(argc, argv, line)) {
      return *exit_code;
    }
    mserve::bench::install_signal_handlers();
    return run(line);
  } catch (const std::exception& e) {
    (void)std::fflush(stdout);  // figures first, then why there are no more
    (void)std::fprintf(stderr, "mserve-bench: %s\n", e.what());
    return mserve::bench::kExitFailed;
  }
}
