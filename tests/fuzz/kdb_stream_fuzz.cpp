// SPDX-License-Identifier: Apache-2.0
// Any bytes, cut in any way: StreamValidator and validate() have one verdict. The first input byte
// chooses byte order and depth, the second the number of cuts; each cut takes one byte of the
// input.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "mserve/kdb/skip.hpp"
#include "mserve/kdb/stream.hpp"

namespace {

using namespace mserve::kdb;

void require(bool good) {
  if (!good) {
    std::abort();
  }
}

/// Pieces of the lengths that `lengths` names, the rest at the end.
Errc in_pieces(std::span<const std::byte> object, std::span<const std::uint8_t> lengths,
               std::size_t depth_max, ByteOrder order) {
  StreamValidator validator(object.size(), depth_max, order);
  for (std::size_t i = 0; i <= lengths.size(); ++i) {
    const bool rest = i == lengths.size() || lengths[i] > object.size();
    const std::size_t bytes = rest ? object.size() : lengths[i];
    const Errc code = validator.feed(object.first(bytes));
    if (code != Errc::ok) {
      require(!validator.done());
      return code;
    }
    object = object.subspan(bytes);
  }
  require(validator.done());
  return Errc::ok;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size < std::size_t{2} + data[1] % 8) {
    return 0;
  }
  const ByteOrder order = (data[0] & 1) == 0 ? ByteOrder::little : ByteOrder::big;
  const std::size_t depth_max = (data[0] & 2) == 0 ? kDepthMax : data[0] >> 2;
  const std::span lengths(data + 2, data[1] % 8);
  const auto object = std::as_bytes(std::span(data, size).subspan(2 + lengths.size()));
  const auto whole = validate(object, depth_max, order);
  require(in_pieces(object, lengths, depth_max, order) == (whole ? Errc::ok : whole.error().code));
  return 0;
}
