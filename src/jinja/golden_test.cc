// The language against Python's Jinja2: tests/data/templates/*.json hold templates and what
// tools/make_template_golden.py got for them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "jinja/render.h"

namespace hunch::jinja {
namespace {

using Json = nlohmann::ordered_json;

Json read_fixture(const std::string& name) {
  const auto path = std::filesystem::path(HUNCH_SOURCE_DIR) / "tests/data/templates" / (name + ".json");
  return Json::parse(read_file(path));
}

class JinjaGolden : public testing::TestWithParam<const char*> {
 protected:
  // The fixtures show the time in UTC.
  void SetUp() override {
    setenv("TZ", "UTC0", 1);
    tzset();
  }
};

TEST_P(JinjaGolden, RendersAsPythonDoes) {
  const Json cases = read_fixture(GetParam()), variables = read_fixture("variables");
  ASSERT_GT(cases.size(), 0u);
  RenderOptions options;
  options.now = 1732000000;
  for (const Json& c : cases) {
    const std::string source = c["template"];
    try {
      const std::string text = render(source, variables, options);
      if (c.contains("error")) {
        ADD_FAILURE() << source << "\nrenders as " << text << "\nbut must fail";
      } else {
        EXPECT_EQ(text, c["text"].get<std::string>()) << source;
      }
    } catch (const Error& error) {
      EXPECT_TRUE(c.contains("error")) << source << "\nfails: " << error.what();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, JinjaGolden,
                         testing::Values("whitespace", "control", "macros", "expressions", "filters", "tests",
                                         "methods", "errors", "chat"),
                         [](const auto& info) { return std::string(info.param); });

std::string error_of(std::string_view source, const Json& variables = Json::object(),
                     const RenderOptions& options = {}) {
  try {
    const std::string text = render(source, variables, options);
    ADD_FAILURE() << "rendered: " << text.substr(0, 200);
  } catch (const Error& error) {
    return std::string(name_of(error.kind())) + ": " + error.what();
  }
  return "";
}

TEST(JinjaErrors, NameLineAndConstruct) {
  EXPECT_EQ(error_of("a\nb {{ x | nosuch }}"),
            "format: chat template, line 2, in filter 'nosuch': there is no filter named 'nosuch'");
  EXPECT_EQ(error_of("\n\n{{ x.y.z }}"), "format: chat template, line 3, in attribute '.y': 'x' is undefined");
  EXPECT_EQ(error_of("{% if a %}\n\n"), "format: chat template, line 1: the tag '{% if %}' has no '{% endif %}'");
  EXPECT_EQ(error_of("\n{% for x in [1] %}{% endif %}"),
            "format: chat template, line 2: the tag '{% endif %}' stands inside '{% for %}' of line 2, which needs "
            "'{% endfor %}'");
  EXPECT_EQ(error_of("{% include 'x' %}"),
            "format: chat template, line 1: the tag '{% include %}' needs other template files and is not available in "
            "chat templates");
  EXPECT_EQ(error_of("{{ 1 +\n 'a' }}"),
            "format: chat template, line 1, in operator '+': operator '+' cannot combine int and str");
  EXPECT_EQ(error_of("{{ f(1) }}"), "format: chat template, line 1, in the call of 'f': 'f' is undefined");
  EXPECT_EQ(error_of("x\n{{ raise_exception('no ' ~ 'way') }}"),
            "usage: the chat template refuses these messages: no way");
  EXPECT_EQ(error_of("{% raw %}"), "format: chat template, line 1: the tag '{% raw %}' has no '{% endraw %}'");
}

// Each of these would run or grow without end.
TEST(JinjaLimits, StopRunawayTemplates) {
  RenderOptions options;
  options.limits.max_steps = 200'000;
  options.limits.max_bytes = size_t{32} << 20;
  options.limits.max_output_bytes = size_t{1} << 20;
  const char* const sources[] = {
      "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{{ 'x' * 99999999999 }}",
      "{{ [0] * 99999999999 }}",
      "{% set ns = namespace(s='xx') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
      "{% set l = [1] %}{% for i in l %}{% do l.append(l) %}{% endfor %}{{ l }}",
      "{% set l = [] %}{% do l.append(l) %}{{ l | tojson }}",
      "{% set ns = namespace(l=[]) %}{% for i in range(150) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[], m=[]) %}{% for i in range(150) %}{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, "
      "ns.m] "
      "%}{% endfor %}{{ ns.l == ns.m }}",
      "{{ 'aaaa'.replace('a', 'x' * 9999999).replace('x', 'y' * 9999) }}",
      "{{ '%99999999d' % 1 }}",
      "{{ '{:99999999}'.format(1) }}",
      "{{ 'a'.center(99999999999) }}",
      "{{ 2 ** 9999999999999 }}",
      "{{ 99999999999 ** 99 }}",
      "{{ range(999999999999) }}",
      "{{ 'x' | indent(99999999999) }}",
      "{{ [1] | batch(99999999999, 'x') | list }}",
      "{{ [1] | slice(99999999999) | list }}",
  };
  for (const char* source : sources) {
    const std::string error = error_of(source, Json::object(), options);
    EXPECT_EQ(error.rfind("format: chat template, line 1", 0), 0u) << source << "\n" << error;
  }
}

TEST(JinjaLimits, BoundNestingWithoutExhaustingTheStack) {
  const auto repeat = [](const std::string& what, size_t n) {
    std::string out;
    for (size_t i = 0; i < n; i++) out += what;
    return out;
  };
  const size_t n = 20'000;
  const std::pair<const char*, const char*> nested[] = {{"(", ")"},  {"[", "]"},   {"{1:", "}"}, {"f(", ")"},
                                                        {"a[", "]"}, {"not ", ""}, {"-", ""},    {"1 if 1 else ", ""}};
  for (const auto& [open, close] : nested) {
    const std::string error = error_of("{{ " + repeat(open, n) + "1" + repeat(close, n) + " }}");
    EXPECT_NE(error.find("nested too deeply"), std::string::npos) << open << "\n" << error.substr(0, 200);
  }
  EXPECT_NE(error_of(repeat("{% if 1 %}", n)).find("nested too deeply"), std::string::npos);
  EXPECT_NE(error_of("{% set " + repeat("(", n) + "a" + repeat(")", n) + " = 1 %}").find("nested too deeply"),
            std::string::npos);
  // Chains are long, not deep: sums render, long chains of filters are refused.
  EXPECT_EQ(render("{{ 0" + repeat(" + 1", n) + " }}", Json::object()), std::to_string(n));
  EXPECT_EQ(render("{{ false" + repeat(" or 0", n) + " or 'end' }}", Json::object()), "end");
  EXPECT_NE(error_of("{{ 1" + repeat("|string", n) + " }}").find("deep"), std::string::npos);
}

TEST(JinjaSandbox, LeavesTheVariablesAlone) {
  const Json variables = {{"l", {1, 2}}, {"d", {{"a", 1}}}};
  const Json before = variables;
  EXPECT_EQ(render("{% do l.append(3) %}{% do d.update(b=2) %}{{ l }}{{ d }}", variables), "[1, 2, 3]{'a': 1, 'b': 2}");
  EXPECT_EQ(variables, before);
}

TEST(JinjaSandbox, ShowsNoInternals) {
  EXPECT_EQ(render("{{ ''.__class__ }}{{ {}.__init__ }}{{ range.__globals__ }}", Json::object()), "");
}

TEST(JinjaText, PassesInvalidUtf8Through) {
  const std::string odd = "a\xFF\xC3(\xE4\xB8";
  EXPECT_EQ(render(odd + "{{ '" + odd + "' }}", Json::object()), odd + odd);
  EXPECT_EQ(render("{{ '" + odd + "' | length }}", Json::object()), "6");
}

TEST(JinjaNumbers, HoldEveryJsonInteger) {
  const Json variables = {{"big", 18446744073709551615u}, {"small", INT64_MIN}};
  EXPECT_EQ(render("{{ big }} {{ small }} {{ big + 1 }} {{ big | tojson }}", variables),
            "18446744073709551615 -9223372036854775808 18446744073709551616 18446744073709551615");
}

TEST(JinjaClock, ShowsTheGivenTime) {
  RenderOptions options;
  options.now = 86400;
  EXPECT_NE(render("{{ strftime_now('%Y') }}", Json::object(), options).find("1970"), std::string::npos);
  EXPECT_EQ(render("{{ strftime_now('') }}", Json::object(), options), "");
}

}  // namespace
}  // namespace hunch::jinja
