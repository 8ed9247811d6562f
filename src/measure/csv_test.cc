#include "measure/csv.h"

#include <gtest/gtest.h>

#include "io/test_errors.h"

namespace hunch {
namespace {

using Fields = std::vector<std::string>;

TEST(Csv, FieldsMayBeQuoted) {
  const auto records = parse_csv("a,b c,\r\n\"x, \"\"y\"\"\nz\",\"\",it\"s\n\n\"q\"r,\rs\n,last", "f");
  ASSERT_EQ(records.size(), 4u);
  EXPECT_EQ(records[0].fields, (Fields{"a", "b c", ""}));
  EXPECT_EQ(records[1].fields, (Fields{"x, \"y\"\nz", "", "it\"s"}));
  EXPECT_EQ(records[2].fields, (Fields{"qr", "\rs"}));
  EXPECT_EQ(records[3].fields, (Fields{"", "last"}));
  EXPECT_EQ(records[1].line, 2u);
  EXPECT_EQ(records[2].line, 5u);
  EXPECT_TRUE(parse_csv("", "f").empty());
}

TEST(Csv, AQuoteThatIsNeverClosedIsNamed) {
  const std::string message = message_of(ErrorKind::kFormat, [] { parse_csv("a,b\nc,\"d\ne", "f.csv"); });
  EXPECT_EQ(message, "'f.csv' line 2: a field begins with a quote, and no quote ends it");
}

}  // namespace
}  // namespace hunch
