// SPDX-License-Identifier: Apache-2.0
// mserve-bench: what mserve costs on this machine; bench/README.md tells how to read it.
#include <cstdio>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <string>

#include "command_line.hpp"
#include "interrupt.hpp"

namespace {

using mserve::bench::CommandLine;
using mserve::bench::Subcommand;

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

void write_files(const Subcommand& subcommand, const mserve::bench::Document& document) {
  const mserve::bench::Common& common = subcommand.common;
  if (!common.json_file.empty()) {
    write_file(common.json_file, subcommand.json(document));
  }
  if (!common.html_file.empty()) {
    write_file(common.html_file, mserve::bench::to_html(document));
  }
  if (!common.svg_file.empty()) {
    write_file(common.svg_file, subcommand.svg(document));
  }
}

/// Before minutes of measuring, not after.
void check_writable(const mserve::bench::Common& common) {
  for (const std::string* const file : {&common.json_file, &common.html_file, &common.svg_file}) {
    if (!file->empty() && *file != "-" && !std::ofstream(*file, std::ios::app)) {
      throw std::runtime_error("cannot write " + *file);
    }
  }
}

int end_interrupted() {
  (void)std::fputs("mserve-bench: interrupted\n", stderr);
  return 128 + mserve::bench::g_interrupted.load(std::memory_order_relaxed);
}

int run(const CommandLine& line) {
  if (line.subcommand == nullptr) {
    mserve::bench::serve_echo(line.echo, line.ready_fd);
    return 0;
  }
  check_writable(line.subcommand->common);
  mserve::bench::Run run(line.text, line.subcommand->common.seconds);
  line.subcommand->run(run);
  if (mserve::bench::interrupted()) {
    return end_interrupted();
  }
  write_files(*line.subcommand, run.document());
  return run.failed() ? mserve::bench::kExitFailed : 0;
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
    if (mserve::bench::interrupted()) {
      return end_interrupted();  // whatever failed then was a call that the signal ended
    }
    (void)std::fprintf(stderr, "mserve-bench: %s\n", e.what());
    const bool cannot = dynamic_cast<const mserve::bench::CannotMeasure*>(&e) != nullptr;
    return cannot ? mserve::bench::kExitCannotMeasure : mserve::bench::kExitFailed;
  }
}
