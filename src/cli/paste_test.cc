#include "cli/paste.h"

#include <gtest/gtest.h>

namespace hunch::cli {
namespace {

std::string pasted(std::string_view bytes) {
  PasteReader reader;
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_FALSE(reader.push(bytes[i])) << "ended at byte " << i;
  for (size_t i = 0; i < kPasteEnd.size(); ++i) EXPECT_EQ(reader.push(kPasteEnd[i]), i + 1 == kPasteEnd.size());
  return reader.text();
}

TEST(Paste, EndsWithItsMarkOnly) {
  EXPECT_EQ(pasted(""), "");
  EXPECT_EQ(pasted("~/a \033[200~ \033[201 b~"), "~/a [200~ [201 b~");
}

TEST(Paste, LineEndsAreOfOneKind) {
  EXPECT_EQ(pasted("one\rtwo\r\nthree\n\nfive"), "one\ntwo\nthree\n\nfive");
  EXPECT_EQ(pasted("one\rtwo\r\r"), "one\ntwo");
}

TEST(Paste, KeepsTabsAndDropsOtherControls) { EXPECT_EQ(pasted("\tif x:\a\0333\x7f"), "\tif x:3"); }

TEST(Paste, IsUtf8) { EXPECT_EQ(pasted("d\xc3\xa9j\xe0 vu"), "d\xc3\xa9j\xef\xbf\xbd vu"); }

}  // namespace
}  // namespace hunch::cli
