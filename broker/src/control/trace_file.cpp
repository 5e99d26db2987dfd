// SPDX-License-Identifier: Apache-2.0
#include "control/trace_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "control/log.hpp"
#include "mserve/shm/clock.hpp"
#include "wall_clock.hpp"

namespace mserve::broker {

namespace {

constexpr std::size_t kBufferBytes = 64U << 10;

std::string words_of(int error) {
  return std::generic_category().message(error);
}

/// What errno says of it.
std::string unwritable(const std::string& path) {
  return "--trace: cannot write " + path + ": " + words_of(errno);
}

}  // namespace

std::string trace_fault(const std::string& path) {
  if (path.empty() || ::access(path.c_str(), W_OK) == 0) {
    return "";
  }
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const bool may_create = errno == ENOENT && ::access(directory.c_str(), W_OK | X_OK) == 0;
  return may_create ? "" : unwritable(path);
}

std::unique_ptr<TraceFile> TraceFile::create(const std::string& path, std::uint64_t bytes_max,
                                             std::string& reason) {
  // O_NONBLOCK: a pipe that nobody reads holds up neither the start nor the control thread.
  shm::UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600));
  if (!fd) {
    reason = unwritable(path);
    return nullptr;
  }
  const TraceText text(TraceText::form_of(path), ::getpid(),
                       {.steady = shm::steady_now(), .wall = wall_now()});
  return std::unique_ptr<TraceFile>(new TraceFile(path, std::move(fd), bytes_max, text));
}

TraceFile::TraceFile(std::string path, shm::UniqueFd fd, std::uint64_t bytes_max,
                     const TraceText& text)
    : path_(std::move(path)),
      fd_(std::move(fd)),
      bytes_max_(bytes_max),
      text_(text),
      buffer_(text_.head()) {}

TraceFile::~TraceFile() {
  try {
    if (fd_) {
      buffer_ += text_.tail();
      flush();
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory loses the last lines
  }
}

void TraceFile::add(const EndedRequest& request, std::int64_t wall_offset) {
  if (ended()) {
    return;
  }
  row_.clear();
  text_.append(row_, request, wall_offset);
  if (bytes_written_ + buffer_.size() + row_.size() + text_.tail().size() > bytes_max_) {
    buffer_ += text_.tail();
    if (write_all()) {
      end("it is as large as --trace-max allows");
    }
    return;
  }
  buffer_ += row_;
  if (buffer_.size() >= kBufferBytes) {
    flush();
  }
}

void TraceFile::flush() {
  if (!ended() && !buffer_.empty()) {
    (void)write_all();
  }
}

/// False: it has ended, behind the last line that was written whole.
bool TraceFile::write_all() {
  std::size_t written = 0;
  while (written < buffer_.size()) {
    const ssize_t part = ::write(fd_.get(), buffer_.data() + written, buffer_.size() - written);
    if (part >= 0) {
      written += static_cast<std::size_t>(part);
    } else if (errno != EINTR) {
      const int error = errno;
      (void)!::ftruncate(fd_.get(), static_cast<off_t>(bytes_written_));
      end(words_of(error));
      return false;
    }
  }
  bytes_written_ += buffer_.size();
  buffer_.clear();
  return true;
}

void TraceFile::end(const std::string& reason) {
  fd_.reset();
  buffer_ = {};
  log(LogLevel::warning, "trace_ended",
      {{"file", path_}, {"bytes", bytes_written_}, {"reason", LogText{reason}}});
}

}  // namespace mserve::broker
