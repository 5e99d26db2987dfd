// SPDX-License-Identifier: Apache-2.0
#include "access/password.hpp"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <array>
#include <memory>

namespace mserve::broker {

namespace {

constexpr std::size_t kMd5Digits = 32;
constexpr std::size_t kSha1Digits = 40;

int digit_of(char c) noexcept {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  const auto lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> from_hex(std::string_view digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    const int high = digit_of(digits[i]);
    const int low = digit_of(digits[i + 1]);
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

/// In a time that depends on the sizes alone.
bool same(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

/// Empty when the algorithm is not there, as where only certified ones are allowed.
std::string digest(std::string_view text, const EVP_MD* algorithm) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), bytes.data(), &size, algorithm, nullptr) != 1) {
    return {};
  }
  return {reinterpret_cast<const char*>(bytes.data()), size};
}

bool verify_digest(std::string_view password, std::string_view stored, const EVP_MD* algorithm) {
  const std::string found = digest(password, algorithm);
  return !found.empty() && same(found, stored);
}

/// Digests of equal size are compared, so that time tells nothing of the length either.
bool verify_plain(std::string_view password, std::string_view stored) {
  return verify_digest(password, digest(stored, EVP_sha256()), EVP_sha256());
}

bool verify_crypt(const Secret& password, const std::string& stored) {
  if (password.text().find('\0') != std::string_view::npos) {
    return false;  // crypt() would take what is before it
  }
  const auto work = std::make_unique<crypt_data>();  // 32 KiB
  const char* const found = ::crypt_r(password.c_str(), stored.c_str(), work.get());
  const bool right = found != nullptr && found[0] != '*' && same(found, stored);
  ::explicit_bzero(work.get(), sizeof(*work));
  return right;
}

bool is_crypt(const std::string& text) {
  if (!text.starts_with('$')) {
    return false;
  }
  const int known = ::crypt_checksalt(text.c_str());
  return known != CRYPT_SALT_INVALID && known != CRYPT_SALT_METHOD_DISABLED;
}

}  // namespace

std::optional<StoredPassword> parse_password(std::string_view text, bool plain_allowed) {
  using Kind = StoredPassword::Kind;
  if (text.size() == kMd5Digits || text.size() == kSha1Digits) {
    if (auto bytes = from_hex(text)) {
      return StoredPassword{text.size() == kMd5Digits ? Kind::md5 : Kind::sha1, *std::move(bytes)};
    }
  }
  StoredPassword stored{Kind::crypt, std::string(text)};
  if (is_crypt(stored.value)) {
    return stored;
  }
  // Not the password itself: a hash mistyped, or of a kind that this system does not know.
  if (text.starts_with('$') && text.find('$', 1) != std::string_view::npos) {
    return std::nullopt;
  }
  stored.kind = Kind::plain;
  return plain_allowed && !text.empty() ? std::optional(std::move(stored)) : std::nullopt;
}

bool verify(const Secret& password, const StoredPassword& stored) {
  switch (stored.kind) {
    case StoredPassword::Kind::plain:
      return verify_plain(password.text(), stored.value);
    case StoredPassword::Kind::md5:
      return verify_digest(password.text(), stored.value, EVP_md5());
    case StoredPassword::Kind::sha1:
      return verify_digest(password.text(), stored.value, EVP_sha1());
    case StoredPassword::Kind::crypt:
      return verify_crypt(password, stored.value);
  }
  return false;
}

}  // namespace mserve::broker
