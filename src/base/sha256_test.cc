#include "base/sha256.h"

#include <gtest/gtest.h>

#include "base/sha256_portable.h"

namespace hunch {
namespace {

// The examples of FIPS 180-2, appendix B, and the empty message.
TEST(Sha256, MatchesTheStandardsExamples) {
  EXPECT_EQ(sha256_hex(std::string_view()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(std::string_view("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PlainCodeGivesTheSameDigests) {
  PortableSha256 plain;
  std::string text;
  for (size_t n = 0; n < 200; ++n, text += char('a' + n % 26)) {
    plain.start();
    for (const char& c : text) plain.update(std::as_bytes(std::span(&c, 1)));
    EXPECT_EQ(to_hex(plain.finish()), sha256_hex(text)) << n;
  }
}

TEST(Sha256, PiecesGiveTheSameDigestAndFinishStartsAnew) {
  Sha256 hash;
  for (int round = 0; round < 2; ++round) {
    hash.update(std::string_view("a"));
    hash.update(std::span<const std::byte>());
    hash.update(std::string_view("bc"));
    EXPECT_EQ(hash.finish_hex(), sha256_hex(std::string_view("abc")));
  }
}

}  // namespace
}  // namespace hunch
