// The main of every folder's test program, which holds the tests of all its x_test.cc. `--file=x` runs those of one, as
// ctest does (each in a process of its own); without it, and with gtest's own flags, everything or what they choose
// runs.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>

namespace {

// The filter in gtest's words that chooses the tests of STEM_test.cc; empty when there are none.
std::string tests_of(std::string_view stem) {
  std::string filter;
  const testing::UnitTest& unit = *testing::UnitTest::GetInstance();
  for (int s = 0; s < unit.total_test_suite_count(); ++s) {
    const testing::TestSuite& suite = *unit.GetTestSuite(s);
    for (int t = 0; t < suite.total_test_count(); ++t) {
      const testing::TestInfo& test = *suite.GetTestInfo(t);
      if (std::filesystem::path(test.file()).filename() == std::string(stem) + "_test.cc") {
        filter += (filter.empty() ? "" : ":") + std::string(suite.name()) + "." + test.name();
      }
    }
  }
  return filter;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  constexpr std::string_view option = "--file=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.substr(0, option.size()) != option) {
      std::fprintf(stderr, "%s: expected --file=STEM or flags of gtest, found %s\n", argv[0], argv[i]);
      return 2;
    }
    const std::string filter = tests_of(argument.substr(option.size()));
    if (filter.empty()) {
      std::fprintf(stderr, "%s: no test comes from %s_test.cc\n", argv[0], argv[i] + option.size());
      return 2;
    }
    if (testing::GTEST_FLAG(filter) != "*") {
      std::fprintf(stderr, "%s: expected --file or --gtest_filter, found both\n", argv[0]);
      return 2;
    }
    testing::GTEST_FLAG(filter) = filter;
  }
  return RUN_ALL_TESTS();
}
