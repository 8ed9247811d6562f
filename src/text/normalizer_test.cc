#include "text/normalizer.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace hunch {
namespace {
using Kind = NormalizerStep::Kind;

std::string normalize(const std::vector<NormalizerStep>& steps, std::string_view text, bool squeeze = false) {
  TokenizerSpec spec;
  spec.normalizers = steps;
  spec.remove_extra_whitespaces = squeeze;
  return Normalizer(spec).normalize(text);
}

TEST(Normalizer, UnicodeForms) {
  const std::string decomposed = "e\xcc\x81\xef\xac\x81", composed = "\xc3\xa9";  // e + acute, the ligature fi
  EXPECT_EQ(normalize({{Kind::kNfc}}, decomposed), composed + "\xef\xac\x81");
  EXPECT_EQ(normalize({{Kind::kNfkc}}, decomposed), composed + "fi");
  EXPECT_EQ(normalize({{Kind::kNfd}}, composed), "e\xcc\x81");
  EXPECT_EQ(normalize({{Kind::kNfkd}}, "\xef\xac\x81"), "fi");
  EXPECT_EQ(normalize({{Kind::kNfc}}, std::string_view("a\0b", 3)), std::string_view("a\0b", 3));
}

TEST(Normalizer, Steps) {
  EXPECT_EQ(normalize({{Kind::kLowercase}},
                      "\xc3\x89"
                      "A1"),
            "\xc3\xa9"
            "a1");
  EXPECT_EQ(normalize({{Kind::kStripLeft}}, "\xe3\x80\x80 a "), "a ");
  EXPECT_EQ(normalize({{Kind::kStripRight}}, " a\n\xc2\xa0"), " a");
  EXPECT_EQ(normalize({{Kind::kReplace, "aa", "b"}}, "aaaaa"), "bba");
  EXPECT_EQ(normalize({{Kind::kReplaceRegex, "\\s+", " "}}, "a \n b"), "a b");
  EXPECT_EQ(normalize({}, "  a   b\xe2\x96\x81 ", true), "a b");
}

// A double array with the keys "A" -> "a" and "AB" -> "!", built by hand: unit 0 leads to the block at
// 256; 'A' to its value at 0x1f0 and to the block there; 'B' likewise at 0x2f0.
std::string charsmap() {
  std::vector<uint32_t> units(0x300);
  units[0] = 256u << 10;
  units[256 ^ 'A'] = ((256u ^ 'A' ^ 0x1f0u) << 10) | 0x100 | 'A';
  units[0x1f0] = 0x80000000u;
  units[0x1f0 ^ 'B'] = ((0x1f0u ^ 'B' ^ 0x2f0u) << 10) | 0x100 | 'B';
  units[0x2f0] = 0x80000002u;
  std::string blob;
  const auto put = [&](uint32_t v) {
    for (int k = 0; k < 4; ++k) blob += static_cast<char>(v >> (8 * k) & 0xff);
  };
  put(static_cast<uint32_t>(units.size() * 4));
  for (uint32_t u : units) put(u);
  return blob + std::string("a\0!\0", 4);
}

TEST(Charsmap, TheLongestKeyCounts) {
  EXPECT_EQ(Charsmap(charsmap()).normalize("xAyABA\xc3\xa9"), "xay!a\xc3\xa9");
  EXPECT_EQ(Charsmap().normalize("AB"), "AB");
}

TEST(Charsmap, RefusesTruncationAndSurvivesLies) {
  const std::string good = charsmap();
  EXPECT_THROW(Charsmap(good.substr(0, 3)), Error);
  EXPECT_THROW(Charsmap(good.substr(0, 100)), Error);
  EXPECT_THROW(Charsmap(good.substr(0, good.size() - 1)), Error);
  for (size_t i = 4; i < good.size() - 4; i += 3) {  // any unit may lie; the text is still text
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x5a);
    Charsmap(bad).normalize("xAyABA\xc3\xa9");
  }
}

}  // namespace
}  // namespace hunch
