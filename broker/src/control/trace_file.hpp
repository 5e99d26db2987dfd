// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "control/trace_text.hpp"
#include "mserve/shm/unique_fd.hpp"

namespace mserve::broker {

/// Whether the file of --trace could be made, without making it. @return why not; empty: it could,
/// or there is none.
[[nodiscard]] std::string trace_fault(const std::string& path);

/// The file of --trace. It ends, and says why in the log, when it is full or cannot be written any
/// more; what is in it then can be read. Threads: the control thread's.
class TraceFile {
 public:
  /// Makes it, mode 0600; an old one is emptied, and keeps its mode.
  /// @param bytes_max  the most that is written.
  /// @return null: it cannot be written, and `reason` says why.
  [[nodiscard]] static std::unique_ptr<TraceFile> create(const std::string& path,
                                                         std::uint64_t bytes_max,
                                                         std::string& reason);
  /// Writes what is left, and the end.
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  /// Nothing once it has ended(). May write.
  void add(const EndedRequest& request, std::int64_t wall_offset);
  /// Writes what was added. To be called several times a second.
  void flush();
  [[nodiscard]] bool ended() const noexcept { return !fd_; }

 private:
  TraceFile(std::string path, shm::UniqueFd fd, std::uint64_t bytes_max, const TraceText& text);
  [[nodiscard]] bool write_all();
  void end(const std::string& reason);

  std::string path_;
  shm::UniqueFd fd_;
  std::uint64_t bytes_max_;
  TraceText text_;
  std::string buffer_;               // whole lines that are to be written
  std::string row_;                  // kept for its memory
  std::uint64_t bytes_written_ = 0;  // whole lines too
};

}  // namespace mserve::broker
