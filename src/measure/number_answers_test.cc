#include "measure/number_answers.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

namespace hunch {
namespace {

TEST(NumberAnswers, AreFoundAfterTheMarkOrLast) {
  const std::string answer = "3 + 4 = 7, so $1,200.50 are left.\n#### 1,200.50\n#### 8";
  EXPECT_EQ(strict_number(answer), "1,200.50");
  EXPECT_EQ(last_number(answer), "8");
  EXPECT_EQ(strict_number("####7 #### x #### -5 dollars"), "-5");
  EXPECT_EQ(strict_number("The answer is 7"), kNoNumber);
  EXPECT_EQ(strict_number("#### "), kNoNumber);
  EXPECT_EQ(last_number("It is -$12."), "-$12.");
  EXPECT_EQ(last_number("a 5."), "5.");
  EXPECT_EQ(last_number("none"), kNoNumber);
  EXPECT_EQ(last_number(""), kNoNumber);
  EXPECT_EQ(last_number("about 9 .. "), "..") << "as the harness has it";
}

TEST(NumberAnswers, AreTheSameWithoutCommasDollarsAndTheWayThere) {
  const std::string published = "Two cost 2 * 1,200 = <<2*1200=2400>>2,400 dollars.\n#### 2,400";
  for (const char* same : {"2400", "2,400", "$2,400", "2400.", "#### 2400"})
    EXPECT_TRUE(same_number(same, published)) << same;
  for (const char* other : {"2400.0", "-2400", "240", "", "[invalid]", "2400 ", "2400.."})
    EXPECT_FALSE(same_number(other, published)) << other;
}

// The harness's patterns on texts of what they look at.
TEST(NumberAnswers, AreWhatTheHarnessesPatternsFind) {
  std::mt19937 random(1);
  const std::string alphabet = "01 9$.,-# #a\n";
  const std::regex strict("#### (-?[0-9.,]+)"), flexible("(-?[$0-9.,]{2,})|(-?[0-9]+)");
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (size_t n = random() % 24; text.size() < n;)
      text += random() % 6 ? std::string(1, alphabet[random() % alphabet.size()]) : "#### ";
    std::smatch found;
    EXPECT_EQ(strict_number(text), std::regex_search(text, found, strict) ? found[1].str() : kNoNumber) << text;
    std::string last(kNoNumber);
    for (std::sregex_iterator at(text.begin(), text.end(), flexible), end; at != end; ++at) last = at->str();
    EXPECT_EQ(last_number(text), last) << text;
  }
}

}  // namespace
}  // namespace hunch
