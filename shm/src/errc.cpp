// SPDX-License-Identifier: Apache-2.0
#include "mserve/shm/errc.hpp"

#include <cerrno>

namespace mserve {

const char* to_string(Errc code) noexcept {
  switch (code) {
    case Errc::ok:
      return "ok";
    case Errc::full:
      return "full";
    case Errc::empty:
      return "empty";
    case Errc::timed_out:
      return "timeout";
    case Errc::too_large:
      return "too large";
    case Errc::disconnected:
      return "disconnected";
    case Errc::not_attached:
      return "not attached";
    case Errc::invalid:
      return "invalid argument";
    case Errc::os:
      return "system error";
    case Errc::no_broker:
      return "no broker";
    case Errc::access:
      return "access";
    case Errc::no_memory:
      return "no memory";
    case Errc::in_use:
      return "in use";
    case Errc::unsafe_directory:
      return "unsafe directory";
    case Errc::protocol:
      return "protocol violation";
    case Errc::version_mismatch:
      return "version mismatch";
    case Errc::cursor_out_of_range:
      return "cursor out of range";
    case Errc::bad_frame:
      return "bad frame";
    case Errc::bad_segment:
      return "bad segment";
    case Errc::poisoned:
      return "poisoned";
    case Errc::busy:
      return "busy";
    case Errc::no_servant:
      return "no servant";
    case Errc::servant_died:
      return "servant died";
    case Errc::shutdown:
      return "shutdown";
    case Errc::cancelled:
      return "cancelled";
    case Errc::stalled:
      return "stalled";
    case Errc::failed:
      return "failed";
    case Errc::slow_reader:
      return "slow reader";
    case Errc::internal:
      return "internal error";
    case Errc::queue_timeout:
      return "queue timeout";
    case Errc::retired:
      return "retired";
  }
  return "unknown error";
}

const char* advice(Errc code) noexcept {
  switch (code) {
    case Errc::ok:
      return "Nothing is wrong.";
    case Errc::full:
      return "Take the replies that wait, then send again; nothing was lost.";
    case Errc::empty:
      return "Nothing is there yet; look again later.";
    case Errc::timed_out:
      return "Allow more time; a request that was sent may still run.";
    case Errc::too_large:
      return "Send less at once, or raise the broker's --max-message.";
    case Errc::disconnected:
      return "Attach again; whether requests that were under way ran is unknown.";
    case Errc::not_attached:
      return "Attach first, or wait until the broker is back.";
    case Errc::invalid:
      return "Correct the argument; its documentation names the range.";
    case Errc::os:
      return "See the system's error beside this one.";
    case Errc::no_broker:
      return "Start the broker, or check --name and MSERVE_DIR.";
    case Errc::access:
      return "Have the broker started with --socket-group and --allow-user for this user; with "
             "--users, connect through its gateway, with a user and password of that file.";
    case Errc::no_memory:
      return "Detach what is not needed, or raise the cap or limit that was hit.";
    case Errc::in_use:
      return "Stop what has this name or port, or choose another with --name or -p.";
    case Errc::unsafe_directory:
      return "Make the directory yours and private (chown, chmod 700), or set MSERVE_DIR.";
    case Errc::protocol:
      return "Check that the other side is a genuine mserve program.";
    case Errc::version_mismatch:
      return "Upgrade the older side, so that both major versions agree.";
    case Errc::cursor_out_of_range:
      return "Restart the other side; it damaged its own memory.";
    case Errc::bad_frame:
      return "Restart the other side; it sent a malformed frame.";
    case Errc::bad_segment:
      return "Check that the other side is a genuine mserve program.";
    case Errc::poisoned:
      return "Close this session and attach again.";
    case Errc::busy:
      return "Wait a little and send again, or raise the broker's queue limit.";
    case Errc::no_servant:
      return "Start a servant that may run this request.";
    case Errc::servant_died:
      return "Find out whether it ran before sending it again.";
    case Errc::shutdown:
      return "Wait until the broker is back, then attach again.";
    case Errc::cancelled:
      return "Nothing to do; the request was withdrawn.";
    case Errc::stalled:
      return "Read and write large messages without pausing, or raise the limit.";
    case Errc::failed:
      return "See the error that the servant answered with.";
    case Errc::slow_reader:
      return "Read replies as they come, then attach again.";
    case Errc::internal:
      return "Report this as a bug, with the log around it.";
    case Errc::queue_timeout:
      return "Try later, raise the broker's --queue-timeout, or add servants; it did not run.";
    case Errc::retired:
      return "Nothing to do; to serve again, start the program anew.";
  }
  return "Upgrade this side; the other one knows errors that it does not.";
}

Error os_error(const char* where, Errc code) noexcept {
  return {code, errno, where};
}

}  // namespace mserve
