#include "serve/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

[[noreturn]] void wrong_type(const std::string& param, const char* expected, const Json& found) {
  refuse(param, "'{}' is of type {}, expected {}", param, found.type_name(), expected);
}

std::optional<int64_t> whole(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t n = value.get<uint64_t>();
    return n <= uint64_t(INT64_MAX) ? std::optional(int64_t(n)) : std::nullopt;
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  const double x = value.is_number_float() ? value.get<double>() : 0.5;
  if (x == std::floor(x) && std::abs(x) < 9e15) return int64_t(x);
  return std::nullopt;
}

}  // namespace

const Json* Fields::find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

double Fields::number(const char* name, double otherwise, double least, double most) const {
  const Json* value = find(name);
  if (!value) return otherwise;
  if (!value->is_number()) wrong_type(this->name(name), "a number", *value);
  const double x = value->get<double>();
  if (!(x >= least && x <= most))
    refuse(this->name(name), "'{}' is {}, expected a number from {} to {}", this->name(name), x, least, most);
  return x;
}

int64_t Fields::integer(const char* name, int64_t otherwise, int64_t least, int64_t most) const {
  const Json* value = find(name);
  if (!value) return otherwise;
  if (!value->is_number()) wrong_type(this->name(name), "a whole number", *value);
  const std::optional<int64_t> n = whole(*value);
  if (!n || *n < least || *n > most)
    refuse(this->name(name), "'{}' is {}, expected a whole number from {} to {}", this->name(name), value->dump(),
           least, most);
  return *n;
}

bool Fields::flag(const char* name, bool otherwise) const {
  const Json* value = find(name);
  if (!value) return otherwise;
  if (!value->is_boolean()) wrong_type(this->name(name), "true or false", *value);
  return value->get<bool>();
}

std::string Fields::text(const char* name, std::string otherwise) const {
  const Json* value = find(name);
  if (!value) return otherwise;
  if (!value->is_string()) wrong_type(this->name(name), "a string", *value);
  return value->get<std::string>();
}

std::string Fields::required_text(const char* name) const {
  if (!has(name)) refuse(this->name(name), "'{}' is missing, expected a string", this->name(name));
  return text(name);
}

std::string Fields::choice(const char* name, std::string otherwise, const std::vector<std::string>& allowed) const {
  if (!has(name)) return otherwise;
  const std::string value = text(name);
  if (std::ranges::find(allowed, value) == allowed.end())
    refuse(this->name(name), "'{}' is none of {}", this->name(name), fmt::join(allowed, ", "));
  return value;
}

std::vector<std::string> Fields::texts(const char* name, size_t most) const {
  const Json* value = find(name);
  if (!value) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) wrong_type(this->name(name), "a string or a list of strings", *value);
  if (value->size() > most)
    refuse(this->name(name), "'{}' has {} entries, expected at most {}", this->name(name), value->size(), most);
  std::vector<std::string> out;
  for (const Json& entry : *value) {
    if (!entry.is_string()) wrong_type(this->name(name), "a list of strings", entry);
    out.push_back(entry.get<std::string>());
  }
  return out;
}

std::vector<int32_t> ids_of(const Json& list, const std::string& param) {
  if (!list.is_array()) wrong_type(param, "a list of token ids", list);
  std::vector<int32_t> out;
  out.reserve(list.size());
  for (const Json& entry : list) {
    const std::optional<int64_t> id = entry.is_number() ? whole(entry) : std::nullopt;
    if (!id || *id < 0 || *id > INT32_MAX) refuse(param, "'{}' is no list of token ids", param);
    out.push_back(int32_t(*id));
  }
  return out;
}

std::vector<int32_t> Fields::ids(const char* name) const {
  const Json* value = find(name);
  return value ? ids_of(*value, this->name(name)) : std::vector<int32_t>();
}

std::map<int32_t, float> Fields::biases(const char* name) const {
  std::map<int32_t, float> out;
  for (const auto& [key, value] : object(name).items()) {
    int32_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      refuse(this->name(name), "'{}' has a key that is no token id", this->name(name));
    if (!value.is_number()) wrong_type(this->name(name), "an object of numbers", value);
    const double bias = value.get<double>();
    if (!(bias >= -100 && bias <= 100))
      refuse(this->name(name), "'{}' of token {} is {}, expected a number from -100 to 100", this->name(name), id,
             bias);
    out[id] = bias <= -100 ? -INFINITY : float(bias);
  }
  return out;
}

const Json& Fields::object(const char* name) const {
  static const Json empty = Json::object();
  const Json* value = find(name);
  if (!value) return empty;
  if (!value->is_object()) wrong_type(this->name(name), "an object", *value);
  return *value;
}

}  // namespace hunch::serve
