#include "serve/model_choice.h"

#include <charconv>
#include <cmath>

#include "serve/json.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

// Looks at the members of the outermost object.
class Finder : public nlohmann::json_sax<Json> {
 public:
  ModelChoice choice;

  bool null() override { return true; }
  bool boolean(bool) override { return take_wrong("a boolean"); }
  bool number_integer(number_integer_t value) override { return take(double(value)); }
  bool number_unsigned(number_unsigned_t value) override { return take(double(value)); }
  bool number_float(number_float_t value, const string_t&) override { return take(value); }
  bool binary(binary_t&) override { return true; }
  bool string(string_t& value) override {
    if (is_at("model")) choice.name = value;
    if (!is_at("keep_alive")) return true;
    choice.keep_seconds = duration_from(value);
    if (!choice.keep_seconds && !value.empty())
      refuse("keep_alive", "'keep_alive' is '{}', expected a duration like \"10m\" or seconds", value);
    return true;
  }
  bool start_object(size_t) override {
    take_wrong("an object");
    ++depth_;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1 && n_lists_ == 0) key_ = name;
    return true;
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(size_t) override {
    take_wrong("a list");
    ++n_lists_;
    return true;
  }
  bool end_array() override {
    --n_lists_;
    return true;
  }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  bool is_at(std::string_view name) const { return depth_ == 1 && n_lists_ == 0 && key_ == name; }
  bool take(double value) {
    if (is_at("keep_alive")) choice.keep_seconds = value;
    return take_wrong("a number", "keep_alive");
  }
  bool take_wrong(const char* what, std::string_view but = "") const {
    for (const char* name : {"model", "keep_alive"})
      if (name != but && is_at(name)) refuse(name, "'{}' is {}, expected a string", name, what);
    return true;
  }

  std::string key_;
  size_t depth_ = 0, n_lists_ = 0;
};

}  // namespace

std::optional<double> duration_from(std::string_view text) {
  struct Unit {
    std::string_view name;
    double seconds;
  };
  static constexpr Unit kUnits[] = {{"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"s", 1}, {"m", 60}, {"h", 3600}};
  const double sign = text.starts_with('-') ? -1 : 1;
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  double sum = 0;
  for (bool first = true; !text.empty(); first = false) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc() || !std::isfinite(value) || value < 0) return std::nullopt;
    text.remove_prefix(size_t(end - text.data()));
    if (text.empty() && first) return sign * value;  // seconds
    const Unit* found = nullptr;
    for (const Unit& unit : kUnits)
      if (!found && text.starts_with(unit.name)) found = &unit;
    if (!found) return std::nullopt;
    text.remove_prefix(found->name.size());
    sum += value * found->seconds;
  }
  return sign * sum;
}

ModelChoice model_choice(std::string_view body) {
  Finder finder;
  if (!Json::sax_parse(body, &finder)) parse_value(body);  // which says what is wrong
  return finder.choice;
}

}  // namespace hunch::serve
