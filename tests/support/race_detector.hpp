// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mserve::test {

/// True under ThreadSanitizer. For tests whose own misbehaviour is a data race by intention.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool kRaceDetector = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kRaceDetector = true;
#else
inline constexpr bool kRaceDetector = false;
#endif
#else
inline constexpr bool kRaceDetector = false;
#endif

}  // namespace mserve::test
