// SPDX-License-Identifier: Apache-2.0
// A server's certificate for 127.0.0.1, made on the spot, which signs itself.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <string>

namespace mserve::test {

class TlsIdentity {
 public:
  /// @param file  gets the certificate, for those who are to trust it.
  explicit TlsIdentity(const std::string& file) : context_(SSL_CTX_new(TLS_server_method())) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"), EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> cert(X509_new(), X509_free);
    constexpr long kHour = 3600;
    EXPECT_EQ(X509_set_version(cert.get(), 2), 1);
    EXPECT_EQ(ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1), 1);
    EXPECT_NE(X509_gmtime_adj(X509_getm_notBefore(cert.get()), -kHour), nullptr);
    EXPECT_NE(X509_gmtime_adj(X509_getm_notAfter(cert.get()), 24 * kHour), nullptr);
    EXPECT_EQ(X509_set_pubkey(cert.get(), key.get()), 1);
    X509_NAME* const name = X509_get_subject_name(cert.get());
    const unsigned char text[] = "etcd";
    EXPECT_EQ(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, text, -1, -1, 0), 1);
    EXPECT_EQ(X509_set_issuer_name(cert.get(), name), 1);
    const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> address(
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1"),
        X509_EXTENSION_free);
    EXPECT_EQ(X509_add_ext(cert.get(), address.get(), -1), 1);
    EXPECT_GT(X509_sign(cert.get(), key.get(), EVP_sha256()), 0);
    EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), cert.get()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), key.get()), 1);
    const std::unique_ptr<std::FILE, decltype(&std::fclose)> out(std::fopen(file.c_str(), "w"),
                                                                 std::fclose);
    EXPECT_EQ(PEM_write_X509(out.get(), cert.get()), 1);
  }

  [[nodiscard]] SSL_CTX* context() const noexcept { return context_.get(); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
};

}  // namespace mserve::test
