#include "io/model_file.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {
namespace {

template <class T>
constexpr const char* type_name() {
  if constexpr (std::is_same_v<T, bool>)
    return "bool";
  else if constexpr (std::is_same_v<T, std::string>)
    return "string";
  else if constexpr (std::is_same_v<T, float>)
    return "float32";
  else if constexpr (std::is_same_v<T, double>)
    return "float64";
  else if constexpr (std::is_same_v<T, uint8_t>)
    return "uint8";
  else if constexpr (std::is_same_v<T, int8_t>)
    return "int8";
  else if constexpr (std::is_same_v<T, uint16_t>)
    return "uint16";
  else if constexpr (std::is_same_v<T, int16_t>)
    return "int16";
  else if constexpr (std::is_same_v<T, uint32_t>)
    return "uint32";
  else if constexpr (std::is_same_v<T, int32_t>)
    return "int32";
  else if constexpr (std::is_same_v<T, uint64_t>)
    return "uint64";
  else
    return "int64";
}

// What a message says of a value: type and, where it is short, the value.
std::string describe(const MetaValue& value) {
  return std::visit(
      [](const auto& v) -> std::string {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, MetaArray>) {
          return std::visit(
              [](const auto& items) {
                using Item = typename std::decay_t<decltype(items)>::value_type;
                return fmt::format("an array of {} {} values", items.size(), type_name<Item>());
              },
              v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return fmt::format("the string '{}'", printable(v));
        } else {
          return fmt::format("the {} {}", type_name<T>(), v);
        }
      },
      value);
}

[[noreturn]] void fail_type(std::string_view key, const char* expected, const MetaValue& found) {
  fail(ErrorKind::kFormat, "metadata key '{}': expected {}, found {}", printable(key), expected, describe(found));
}

[[noreturn]] void fail_missing(std::string_view key) {
  fail(ErrorKind::kNotFound, "the model's metadata has no key '{}'", printable(key));
}

// The integer in `value` as To, when it holds an integer that fits.
template <class To>
std::optional<To> to_integer(const MetaValue& value) {
  return std::visit(
      [](const auto& v) -> std::optional<To> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
          if (std::in_range<To>(v)) return To(v);
        }
        return std::nullopt;
      },
      value);
}

std::optional<double> to_float(const MetaValue& value) {
  return std::visit(
      [](const auto& v) -> std::optional<double> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) return double(v);
        return std::nullopt;
      },
      value);
}

// Single-row edit distance, for the suggestion in "no such tensor".
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

}  // namespace

const MetaValue* Metadata::find(std::string_view key) const {
  if (log_) log_->emplace(key);
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

void Metadata::set(std::string key, MetaValue value) {
  const auto [it, is_new] = values_.insert_or_assign(std::move(key), std::move(value));
  if (is_new) keys_.push_back(it->first);
}

void Metadata::erase(std::string_view key) {
  const auto it = values_.find(key);
  if (it == values_.end()) return;
  values_.erase(it);
  keys_.erase(std::find(keys_.begin(), keys_.end(), key));
}

std::string Metadata::get_string(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto* text = std::get_if<std::string>(value);
  if (!text) fail_type(key, "a string", *value);
  return *text;
}

uint64_t Metadata::get_uint(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto number = to_integer<uint64_t>(*value);
  if (!number) fail_type(key, "a non-negative integer", *value);
  return *number;
}

int64_t Metadata::get_int(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto number = to_integer<int64_t>(*value);
  if (!number) fail_type(key, "an integer", *value);
  return *number;
}

double Metadata::get_float(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto number = to_float(*value);
  if (!number) fail_type(key, "a number", *value);
  return *number;
}

bool Metadata::get_bool(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto* flag = std::get_if<bool>(value);
  if (!flag) fail_type(key, "a bool", *value);
  return *flag;
}

std::string Metadata::get_string(std::string_view key, std::string_view fallback) const {
  return has(key) ? get_string(key) : std::string(fallback);
}
uint64_t Metadata::get_uint(std::string_view key, uint64_t fallback) const {
  return has(key) ? get_uint(key) : fallback;
}
int64_t Metadata::get_int(std::string_view key, int64_t fallback) const { return has(key) ? get_int(key) : fallback; }
double Metadata::get_float(std::string_view key, double fallback) const { return has(key) ? get_float(key) : fallback; }
bool Metadata::get_bool(std::string_view key, bool fallback) const { return has(key) ? get_bool(key) : fallback; }

const std::vector<std::string>& Metadata::get_strings(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto* array = std::get_if<MetaArray>(value);
  const auto* strings = array ? std::get_if<std::vector<std::string>>(array) : nullptr;
  if (!strings) fail_type(key, "an array of strings", *value);
  return *strings;
}

std::vector<float> Metadata::get_floats(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto* array = std::get_if<MetaArray>(value);
  if (!array) fail_type(key, "an array of numbers", *value);
  return std::visit(
      [&](const auto& items) -> std::vector<float> {
        using T = typename std::decay_t<decltype(items)>::value_type;
        if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, bool>) {
          std::vector<float> out(items.size());
          // A double outside float's range would be undefined to convert; infinity is what it means.
          for (size_t i = 0; i < out.size(); ++i) {
            if constexpr (std::is_same_v<T, double>) {
              constexpr double kMax = std::numeric_limits<float>::max();
              constexpr float kInf = std::numeric_limits<float>::infinity();
              out[i] = items[i] > kMax ? kInf : items[i] < -kMax ? -kInf : float(items[i]);
            } else {
              out[i] = float(items[i]);
            }
          }
          return out;
        }
        fail_type(key, "an array of numbers", *value);
      },
      *array);
}

std::vector<int64_t> Metadata::get_ints(std::string_view key) const {
  const MetaValue* value = find(key);
  if (!value) fail_missing(key);
  const auto* array = std::get_if<MetaArray>(value);
  if (!array) fail_type(key, "an array of integers", *value);
  return std::visit(
      [&](const auto& items) -> std::vector<int64_t> {
        using T = typename std::decay_t<decltype(items)>::value_type;
        if constexpr (std::is_integral_v<T>) {
          std::vector<int64_t> out(items.size());
          for (size_t i = 0; i < out.size(); ++i) {
            if constexpr (std::is_same_v<T, uint64_t>)
              if (!std::in_range<int64_t>(items[i])) fail_type(key, "integers below 2^63", *value);
            out[i] = int64_t(items[i]);
          }
          return out;
        }
        fail_type(key, "an array of integers", *value);
      },
      *array);
}

const Tensor* ModelFile::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &tensors[it->second];
}

const Tensor& ModelFile::get(std::string_view name) const {
  if (const Tensor* tensor = find(name)) return *tensor;
  constexpr size_t kLongestCompared = 256;
  const Tensor* nearest = nullptr;
  size_t least = kLongestCompared;
  for (const Tensor& tensor : tensors) {
    if (name.size() > kLongestCompared || tensor.name.size() > kLongestCompared) continue;
    const size_t distance = edit_distance(name, tensor.name);
    if (distance >= least) continue;
    least = distance;
    nearest = &tensor;
  }
  if (!nearest)
    fail(ErrorKind::kNotFound, "the model has no tensor '{}' (it has {} tensors)", printable(name), tensors.size());
  fail(ErrorKind::kNotFound, "the model has no tensor '{}'; the closest of its {} tensors is '{}'", printable(name),
       tensors.size(), printable(nearest->name));
}

void ModelFile::index() {
  by_name_.clear();
  for (size_t i = 0; i < tensors.size(); ++i)
    if (!by_name_.emplace(tensors[i].name, i).second)
      fail(ErrorKind::kFormat, "two tensors are named '{}'", printable(tensors[i].name));
}

}  // namespace hunch
