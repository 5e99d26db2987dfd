// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace mserve::broker {

/// Tells when descriptors are ready, so that Boost.Asio's headers stay in one file. One thread.
///
/// A watch is asked for again each time it has fired; asking while it is pending does nothing.
class Readiness {
 public:
  enum class What : std::uint8_t { readable, writable, hung_up };
  /// @param key  as given to add().
  using Handler = std::function<void(std::uint64_t key, What what)>;

  explicit Readiness(Handler handler);
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;
  ~Readiness();

  /// A descriptor that may be watched. It is closed by its destructor, after which no handler runs
  /// for it.
  class Watched;
  struct Closer {
    void operator()(Watched* watched) const noexcept;
  };
  using Handle = std::unique_ptr<Watched, Closer>;

  /// Takes `fd` over. @return nullptr when the kernel has no room for it: it is closed.
  [[nodiscard]] Handle add(int fd, std::uint64_t key);
  /// The same for a descriptor that stays the caller's: watches a duplicate of it.
  [[nodiscard]] Handle add_duplicate(int fd, std::uint64_t key);
  void watch(Watched& watched, What what);

  /// Runs the handlers of what is ready now. Never blocks. @return whether there were any.
  bool poll();
  /// Blocks until a handler ran or `ns` passed. @return whether one ran.
  bool wait(std::uint64_t ns);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace mserve::broker
