#include "base/sha256.h"

#include "base/error.h"
#include "base/sha256_portable.h"
#ifdef HUNCH_HAVE_OPENSSL
#include <openssl/evp.h>
#endif

namespace hunch {

#ifdef HUNCH_HAVE_OPENSSL
struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
  void start() {
    if (!evp || EVP_DigestInit_ex(evp, EVP_sha256(), nullptr) != 1)
      fail(ErrorKind::kMemory, "the crypto library could not start a SHA-256 computation");
  }
  void update(std::span<const std::byte> bytes) {
    const int ok = EVP_DigestUpdate(evp, bytes.data(), bytes.size());
    HUNCH_CHECK(ok == 1);
  }
  Sha256Digest finish() {
    Sha256Digest digest;
    unsigned size = 0;
    const int ok = EVP_DigestFinal_ex(evp, reinterpret_cast<unsigned char*>(digest.data()), &size);
    HUNCH_CHECK(ok == 1 && size == digest.size());
    return digest;
  }
};
#else
struct Sha256::Context : PortableSha256 {};
#endif

Sha256::Sha256() : context_(std::make_unique<Context>()) { context_->start(); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::span<const std::byte> bytes) { context_->update(bytes); }
void Sha256::update(std::string_view text) { update(std::as_bytes(std::span(text))); }

Sha256Digest Sha256::finish() {
  const Sha256Digest digest = context_->finish();
  context_->start();
  return digest;
}

std::string Sha256::finish_hex() { return to_hex(finish()); }

std::string to_hex(const Sha256Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * digest.size());
  for (std::byte b : digest) {
    text += kDigits[unsigned(b) >> 4];
    text += kDigits[unsigned(b) & 15];
  }
  return text;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish_hex();
}

std::string sha256_hex(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text))); }

}  // namespace hunch
