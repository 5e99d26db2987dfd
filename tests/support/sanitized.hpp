// SPDX-License-Identifier: Apache-2.0
#pragma once

// 1 under AddressSanitizer or ThreadSanitizer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MSERVE_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define MSERVE_TEST_SANITIZED 1
#endif
#endif
#ifndef MSERVE_TEST_SANITIZED
#define MSERVE_TEST_SANITIZED 0
#endif

namespace mserve::test {

/// Each byte costs some twenty times more, memory has shadows and a quarantine.
inline constexpr bool kSanitized = MSERVE_TEST_SANITIZED != 0;

}  // namespace mserve::test
