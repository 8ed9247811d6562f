#include "io/quantised_matrix.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "io/printable.h"

namespace hunch {

void IntegerMatrix::values(size_t row, float* out) const {
  thread_local std::vector<int16_t> q;
  thread_local std::vector<float> scale;
  q.resize(cols);
  scale.resize(cols);
  integers(row, q.data(), scale.data());
  for (size_t i = 0; i < cols; ++i) out[i] = float(q[i]) * scale[i];
}

TensorSet::TensorSet(const std::vector<Tensor>& tensors) {
  for (const Tensor& t : tensors) tensors_.emplace(t.name, std::pair(&t, false));
}

const Tensor* TensorSet::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : it->second.first;
}

const Tensor& TensorSet::take(const std::string& name, const std::string& whose) {
  if (const Tensor* t = take_if_present(name)) return *t;
  fail(ErrorKind::kFormat, "quantised matrix '{}' has no tensor '{}'", printable(whose), printable(name));
}

const Tensor* TensorSet::take_if_present(const std::string& name) {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) return nullptr;
  it->second.second = true;
  return it->second.first;
}

bool TensorSet::is_taken(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it != tensors_.end() && it->second.second;
}

std::vector<std::string> TensorSet::ending_with(std::string_view suffix) const {
  std::vector<std::string> names;
  for (const auto& [name, t] : tensors_)
    if (name.ends_with(suffix)) names.push_back(name);
  return names;
}

std::vector<std::string> TensorSet::beginning_with(std::string_view prefix) const {
  std::vector<std::string> names;
  for (auto it = tensors_.lower_bound(std::string(prefix)); it != tensors_.end() && it->first.starts_with(prefix); ++it)
    names.push_back(it->first);
  return names;
}

std::string without_suffix(const std::string& name, std::string_view suffix) {
  HUNCH_CHECK(name.ends_with(suffix));
  return name.substr(0, name.size() - suffix.size());
}

void expect_type(const Tensor& t, DType dtype) {
  if (t.dtype != dtype)
    fail(ErrorKind::kFormat, "tensor '{}' is {}, expected {}", printable(t.name), name_of(t.dtype), name_of(dtype));
}

void expect_shape(const Tensor& t, std::initializer_list<uint64_t> shape) {
  if (!std::ranges::equal(t.shape, shape))
    fail(ErrorKind::kFormat, "tensor '{}' has shape [{}], expected [{}]", printable(t.name), fmt::join(t.shape, ", "),
         fmt::join(shape, ", "));
}

std::vector<float> numbers_of(const Tensor& t) {
  if (!info(t.dtype).is_float())
    fail(ErrorKind::kFormat, "tensor '{}' is {}, expected floats", printable(t.name), name_of(t.dtype));
  std::vector<float> values(t.n_elems());
  codec(t.dtype).decode(t.data.data(), values.data(), values.size());
  return values;
}

uint32_t word_of(const Tensor& t, size_t i) {
  uint32_t word;
  std::memcpy(&word, t.data.data() + i * sizeof word, sizeof word);
  return word;
}

namespace {
[[noreturn]] void wrong_groups(size_t cols, size_t groups, const QuantisedConfig& config, const std::string& name) {
  fail(ErrorKind::kFormat,
       "'{}' has scales for {} group{} of its {} inputs; the groups that quantization_config names have {}",
       printable(name), groups, groups == 1 ? "" : "s", cols,
       config.group_sizes.empty() ? "all inputs" : fmt::format("{}", fmt::join(config.group_sizes, ", ")));
}
}  // namespace

void expect_groups(size_t cols, size_t groups, const QuantisedConfig& config, const std::string& name) {
  const auto fits = [&](size_t size) { return (cols + size - 1) / size == groups; };
  if (config.group_sizes.empty() ? groups != 1 : std::ranges::none_of(config.group_sizes, fits))
    wrong_groups(cols, groups, config, name);
}

std::vector<uint32_t> even_groups(size_t cols, size_t groups, const QuantisedConfig& config, const std::string& name) {
  size_t size = groups == 1 ? cols : 0;
  for (const size_t candidate : config.group_sizes)
    if (groups > 1 && (cols + candidate - 1) / candidate == groups) size = candidate;
  if (size == 0) wrong_groups(cols, groups, config, name);
  std::vector<uint32_t> group(cols);
  for (size_t i = 0; i < cols; ++i) group[i] = uint32_t(i / size);
  return group;
}

std::vector<uint32_t> listed_groups(const Tensor& g_idx, size_t cols, size_t groups) {
  expect_type(g_idx, DType::kI32);
  expect_shape(g_idx, {cols});
  std::vector<uint32_t> group(cols);
  for (size_t i = 0; i < cols; ++i) {
    group[i] = word_of(g_idx, i);
    if (group[i] >= groups)
      fail(ErrorKind::kFormat, "tensor '{}' puts input {} into group {}, but there are {} groups",
           printable(g_idx.name), i, int32_t(group[i]), groups);
  }
  return group;
}

std::vector<uint32_t> order_by_group(std::span<const uint32_t> group) {
  if (std::ranges::is_sorted(group)) return {};
  std::vector<uint32_t> order(group.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::stable_sort(order, {}, [&](uint32_t i) { return group[i]; });
  return order;
}

}  // namespace hunch
