#include "cli/grammar.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <limits>

#include "base/error.h"
#include "cli/parse.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

// "-t,--threads" -> "--threads"
std::string last_name(const std::string& name) { return name.substr(name.rfind(',') + 1); }

std::string env_name(const std::string& name) {
  std::string out = "HUNCH_";
  for (char c : last_name(name).substr(2)) out += c == '-' ? '_' : char(std::toupper(c));
  return out;
}

}  // namespace

struct Grammar::Parser {
  CLI::App app;
};

Grammar::Grammar() : parser_(std::make_unique<Parser>()) {
  parser_->app.allow_extras();
  parser_->app.set_help_flag();
}
Grammar::~Grammar() = default;

void Grammar::section(std::string name) { section_ = std::move(name); }

void Grammar::positional(const std::string& name, std::string& target) {
  arguments_.push_back(name);
  parser_->app.add_option(name, target)->group("");
}
void Grammar::positional(const std::string& name, std::optional<std::string>& target) {
  arguments_.push_back(name);
  parser_->app.add_option_function<std::string>(name, [&target](const std::string& s) { target = s; })->group("");
}

void Grammar::positionals(const std::string& name, std::vector<std::string>& targets) {
  arguments_.push_back(name);
  parser_->app.add_option(name.substr(0, name.find("...")), targets)->group("");
}

void Grammar::text(const std::string& name, std::string& target, const char* value, const char* help) {
  add(name, value, help, target, [&target](const std::string& s) { target = s; });
}
void Grammar::text(const std::string& name, std::optional<std::string>& target, const char* value, const char* help) {
  add(name, value, help, "", [&target](const std::string& s) { target = s; });
}
void Grammar::texts(const std::string& name, std::vector<std::string>& target, const char* value, const char* help) {
  parser_->app.add_option(name, target, help)
      ->type_name(value)
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false)
      ->group(section_);
}

void Grammar::choice(const std::string& name, std::string& target, std::vector<std::string> allowed, const char* help) {
  std::string values = fmt::format("{}", fmt::join(allowed, "|")), text = help;
  constexpr size_t kFitBesideTheName = 64;
  if (values.size() > kFitBesideTheName) {
    text = fmt::format("{}; {}", help, fmt::join(allowed, ", "));
    values = last_name(name).substr(2);
    std::ranges::transform(values, values.begin(), [](unsigned char c) { return char(std::toupper(c)); });
  }
  choices_[last_name(name)] = allowed;
  add(name, values, text.c_str(), target, [&target, allowed, what = last_name(name)](const std::string& s) {
    if (std::ranges::find(allowed, s) == allowed.end())
      fail(ErrorKind::kUsage, "{}: expected {}, found '{}'{}", what, fmt::join(allowed, ", "), printable(s),
           suggestion(s, allowed));
    target = s;
  });
}

void Grammar::count(const std::string& name, size_t& target, const char* value, const char* help, const char* shown) {
  add(name, value, help, shown ? shown : std::to_string(target),
      [&target, what = last_name(name)](const std::string& s) { target = parse_count(s, what); });
}
void Grammar::count(const std::string& name, std::optional<uint64_t>& target, const char* value, const char* help) {
  add(name, value, help, "", [&target, what = last_name(name)](const std::string& s) {
    target.reset();
    if (s != "-1") target = parse_count(s, what);
  });
}
void Grammar::counts(const std::string& name, std::vector<size_t>& target, const char* value, const char* help) {
  add(name, value, help, fmt::format("{}", fmt::join(target, ",")),
      [&target, what = last_name(name)](const std::string& s) { target = parse_counts(s, what); });
}

void Grammar::integer(const std::string& name, int32_t& target, const char* value, const char* help) {
  add(name, value, help, std::to_string(target), [&target, what = last_name(name)](const std::string& s) {
    const int64_t n = parse_integer(s, what);
    if (n < INT32_MIN || n > INT32_MAX) fail(ErrorKind::kUsage, "{}: '{}' is too large", what, s);
    target = int32_t(n);
  });
}
void Grammar::real(const std::string& name, float& target, const char* value, const char* help, const char* shown) {
  add(name, value, help, shown ? shown : fmt::format("{:g}", target),
      [&target, what = last_name(name)](const std::string& s) { target = float(parse_real(s, what)); });
}
void Grammar::real(const std::string& name, double& target, const char* value, const char* help, const char* shown) {
  add(name, value, help, shown ? shown : fmt::format("{:g}", target),
      [&target, what = last_name(name)](const std::string& s) { target = parse_real(s, what); });
}

void Grammar::share(const std::string& name, double& target, const char* value, const char* help, const char* shown) {
  add(name, value, help, shown ? shown : fmt::format("{:g}", target),
      [&target, what = last_name(name)](const std::string& s) { target = parse_share(s, what); });
}
void Grammar::most(const std::string& name, size_t& target, const char* value, const char* help) {
  add(name, value, help, std::to_string(target), [&target, what = last_name(name)](const std::string& s) {
    target = s == "-1" ? std::numeric_limits<size_t>::max() : parse_count(s, what);
  });
}

void Grammar::flag(const std::string& name, bool& target, const char* help) {
  auto* option = parser_->app.add_flag(name, target, help)->group(section_);
  if (section_ == "Engine") option->envname(env_name(name));
}

void Grammar::add(const std::string& name, const std::string& value, const char* help, const std::string& shown_default,
                  const std::function<void(const std::string&)>& set) {
  auto* option = parser_->app.add_option_function<std::string>(name, set, help);
  option->type_name(value)
      ->default_str(shown_default)
      ->group(section_)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  if (section_ == "Engine") option->envname(env_name(name));
}

std::vector<std::string> Grammar::parse(std::vector<std::string> words) {
  std::ranges::reverse(words);  // as CLI11 takes them
  try {
    parser_->app.parse(words);
  } catch (const CLI::ParseError& e) {
    fail(ErrorKind::kUsage, "{}", e.what());
  }
  std::vector<std::string> extras = parser_->app.remaining();
  std::erase(extras, "--");  // CLI11 hands it back; what came after it has become an argument
  return extras;
}

bool Grammar::is_set(const std::string& name) const {
  const CLI::Option* option = parser_->app.get_option_no_throw(name);
  return option && option->count() > 0;
}

bool Grammar::has(const std::string& name) const { return parser_->app.get_option_no_throw(name) != nullptr; }

bool Grammar::takes_value(const std::string& name) const {
  const CLI::Option* option = parser_->app.get_option_no_throw(name);
  return option && option->get_expected_max() > 0;
}

std::vector<OptionHelp> Grammar::options() const {
  std::vector<OptionHelp> out;
  for (const CLI::Option* option : parser_->app.get_options()) {
    if (option->get_group().empty()) continue;
    const auto& shorts = option->get_snames();
    OptionHelp help;
    help.section = option->get_group();
    help.help = option->get_description();
    help.has_twin = !option->get_envname().empty();
    help.long_name = "--" + option->get_lnames()[0];
    if (!shorts.empty()) help.short_name = "-" + shorts[0];
    if (option->get_expected_max() != 0) {
      help.value = option->get_type_name();
      help.shown_default = option->get_default_str();
    }
    help.name = fmt::format("{}{}{}{}", shorts.empty() ? "    " : help.short_name + ", ", help.long_name,
                            help.value.empty() ? "" : " ", help.value);
    help.repeats = option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    if (const auto choices = choices_.find(help.long_name); choices != choices_.end()) help.choices = choices->second;
    out.push_back(std::move(help));
  }
  return out;
}

std::vector<std::string> Grammar::long_names() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : parser_->app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

}  // namespace hunch::cli
