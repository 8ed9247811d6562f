#include "model/hf_import.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "base/throw_if_stopped.h"
#include "formats/format.h"
#include "io/ordered_tensors.h"
#include "io/printable.h"

namespace hunch {
namespace {

// Buffers that checkpoints carry beside their weights; a model is complete without them.
bool is_buffer(std::string_view name) {
  for (std::string_view suffix : {".inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias",
                                  ".attention.masked_bias", ".attn.attention.bias", ".attn.attention.masked_bias",
                                  ".attn.rotary_emb.cos_cached", ".position_ids", "._float_tensor"})
    if (name.ends_with(suffix)) return true;
  return false;
}

// What stands before the names of a language model that is a part of another: "" of one that is not.
constexpr std::string_view kAroundLanguageModels[] = {"", "language_model.", "model.language_model."};

std::string shape_text(const std::vector<uint64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

const Tensor& must_compute(const Tensor& t) {
  if (!info(t.dtype).computes())
    fail(ErrorKind::kUnsupported, "tensor '{}' is {}; expected one of {}", t.name, name_of(t.dtype),
         fmt::join(format_names(&Format::computes), ", "));
  return t;
}

size_t first_dim(const Tensor& t) { return t.shape.empty() ? 1 : t.shape[0]; }

}  // namespace

HfImport::HfImport(const HfFolder& folder, std::string arch, const Stop* stop)
    : arch_(std::move(arch)), config_(std::make_unique<nlohmann::ordered_json>()), folder_(&folder), stop_(stop) {
  *config_ = nlohmann::ordered_json::parse(folder.config_json, nullptr, false);
  if (!config_->is_object()) fail(ErrorKind::kFormat, "'{}': config.json is not a JSON object", folder.path.string());
  for (const Tensor& t : folder.tensors) by_name_.emplace(t.name, &t);
  out_.owners = folder.owners;
  out_.meta.set("general.architecture", arch_);
  out_.meta.set("general.name", folder.path.filename().string());
}

HfImport::~HfImport() = default;

const nlohmann::ordered_json* HfImport::find_config(std::string_view name) const {
  const nlohmann::ordered_json* value = config_.get();
  read_.emplace(name);
  while (!name.empty()) {
    const size_t dot = name.find('.');
    const std::string key(name.substr(0, dot));
    if (!value->is_object()) return nullptr;
    const auto it = value->find(key);
    if (it == value->end() || it->is_null()) return nullptr;
    value = &*it;
    name = dot == name.npos ? std::string_view() : name.substr(dot + 1);
  }
  return value;
}

bool HfImport::has_config(std::string_view name) const { return find_config(name) != nullptr; }

namespace {
[[noreturn]] void missing_config(std::initializer_list<std::string_view> names) {
  fail(ErrorKind::kNotFound, "config.json has no '{}'", fmt::join(names, "' or '"));
}
[[noreturn]] void wrong_config(std::string_view name, const char* expected, const nlohmann::ordered_json& found) {
  fail(ErrorKind::kFormat, "config.json: '{}' should be {}, found {}", name, expected, found.dump().substr(0, 80));
}
}  // namespace

uint64_t HfImport::config_uint(std::initializer_list<std::string_view> names) const {
  for (std::string_view name : names)
    if (const auto* value = find_config(name)) {
      if (value->is_number_integer() && value->get<int64_t>() >= 0) return value->get<uint64_t>();
      wrong_config(name, "a whole number that is not negative", *value);
    }
  missing_config(names);
}

uint64_t HfImport::config_uint(std::initializer_list<std::string_view> names, uint64_t fallback) const {
  for (std::string_view name : names)
    if (has_config(name)) return config_uint(names);
  return fallback;
}

double HfImport::config_float(std::initializer_list<std::string_view> names) const {
  for (std::string_view name : names)
    if (const auto* value = find_config(name)) {
      if (value->is_number()) return value->get<double>();
      wrong_config(name, "a number", *value);
    }
  missing_config(names);
}

double HfImport::config_float(std::initializer_list<std::string_view> names, double fallback) const {
  for (std::string_view name : names)
    if (has_config(name)) return config_float(names);
  return fallback;
}

bool HfImport::config_bool(std::initializer_list<std::string_view> names, bool fallback) const {
  for (std::string_view name : names)
    if (const auto* value = find_config(name)) {
      if (value->is_boolean()) return value->get<bool>();
      wrong_config(name, "true or false", *value);
    }
  return fallback;
}

std::string HfImport::config_string(std::initializer_list<std::string_view> names, std::string_view fallback) const {
  for (std::string_view name : names)
    if (const auto* value = find_config(name)) {
      if (value->is_string()) return value->get<std::string>();
      wrong_config(name, "a string", *value);
    }
  return std::string(fallback);
}

void HfImport::set_uint(std::string_view key, uint64_t value) {
  if (value > UINT32_MAX) fail(ErrorKind::kFormat, "config.json: {} = {} is too large", key, value);
  out_.meta.set(fmt::format("{}.{}", arch_, key), uint32_t(value));
}
void HfImport::set_float(std::string_view key, double value) {
  out_.meta.set(fmt::format("{}.{}", arch_, key), float(value));
}
void HfImport::set_bool(std::string_view key, bool value) { out_.meta.set(fmt::format("{}.{}", arch_, key), value); }
void HfImport::set_string(std::string_view key, std::string_view value) {
  out_.meta.set(fmt::format("{}.{}", arch_, key), std::string(value));
}

void HfImport::set_floats(std::string_view key, std::vector<float> values) {
  out_.meta.set(fmt::format("{}.{}", arch_, key), MetaArray(std::move(values)));
}

void HfImport::set_uints(std::string_view key, std::span<const uint64_t> values) {
  std::vector<uint32_t> list;
  for (const uint64_t value : values) {
    if (value > UINT32_MAX) fail(ErrorKind::kFormat, "config.json: {} = {} is too large", key, value);
    list.push_back(uint32_t(value));
  }
  out_.meta.set(fmt::format("{}.{}", arch_, key), MetaArray(std::move(list)));
}

void HfImport::set_bools(std::string_view key, std::vector<bool> values) {
  out_.meta.set(fmt::format("{}.{}", arch_, key), MetaArray(std::move(values)));
}

void HfImport::set_uints(std::string_view key, std::vector<uint32_t> values) {
  out_.meta.set(fmt::format("{}.{}", arch_, key), MetaArray(std::move(values)));
}

void HfImport::choose_prefix(std::initializer_list<std::string_view> candidates, std::string_view probe) {
  for (const std::string_view around : kAroundLanguageModels)
    for (const std::string_view candidate : candidates) {
      const std::string prefix = fmt::format("{}{}", around, candidate);
      if (!by_name_.count(prefix + std::string(probe))) continue;
      prefix_ = prefix;
      return;
    }
  fail(ErrorKind::kNotFound, "'{}': no tensor '{}' under any of the prefixes '{}'; is the checkpoint complete?",
       folder_->path.string(), probe, fmt::join(candidates, "', '"));
}

const Tensor* HfImport::find(std::string_view name) const {
  auto it = by_name_.find(prefix_ + std::string(name));
  for (const std::string_view around : kAroundLanguageModels)
    if (it == by_name_.end()) it = by_name_.find(std::string(around) + std::string(name));
  return it == by_name_.end() ? nullptr : it->second;
}

bool HfImport::has(std::string_view name) const { return find(name) != nullptr; }

Tensor HfImport::take(std::string_view name) {
  const Tensor* t = find(name);
  if (!t) fail(ErrorKind::kNotFound, "'{}': tensor '{}{}' is missing", folder_->path.string(), prefix_, name);
  used_.insert(t->name);
  return *t;
}

void HfImport::ignore(std::string_view name) {
  if (const Tensor* t = find(name)) used_.insert(t->name);
}

void HfImport::ignore_all(std::string_view beginning) {
  for (const auto& [name, tensor] : by_name_)
    if (begins(name, beginning)) used_.insert(name);
}

void HfImport::leave_out(std::string_view beginning) {
  ignore_all(beginning);
  for (const auto& [name, tensor] : by_name_)
    if (begins(name, beginning)) left_out_.insert(name);
}

bool HfImport::begins(std::string_view name, std::string_view beginning) const {
  return name.starts_with(beginning) ||
         (name.starts_with(prefix_) && name.substr(prefix_.size()).starts_with(beginning));
}

void HfImport::put(std::string_view gguf_name, Tensor tensor) {
  const std::span<const uint32_t> order = order_of(tensor);
  tensor.name = gguf_name;
  if (!order.empty()) {
    constexpr std::string_view kWeight = ".weight";
    HUNCH_CHECK(gguf_name.ends_with(kWeight), "blocks as '{}'", gguf_name);
    const std::string name(gguf_name.substr(0, gguf_name.size() - kWeight.size()));
    tensor.name = ordered_blocks(name);
    std::byte* data;
    Tensor list = allocate(Tensor{input_order(name), DType::kI32, {}, {}}, {1, order.size()}, &data);
    std::memcpy(data, order.data(), order.size_bytes());
    out_.tensors.push_back(std::move(list));
  }
  out_.tensors.push_back(std::move(tensor));
}

void HfImport::move(std::string_view hf, std::string_view gguf) {
  put(fmt::format("{}.weight", gguf), take(fmt::format("{}.weight", hf)));
  const std::string bias = fmt::format("{}.bias", hf);
  if (has(bias)) put(fmt::format("{}.bias", gguf), take(bias));
}

void HfImport::move_if_present(std::string_view hf, std::string_view gguf) {
  if (has(fmt::format("{}.weight", hf))) move(hf, gguf);
}

void HfImport::move_degrouped(std::string_view hf, std::string_view gguf, size_t groups, size_t q_per_group,
                              size_t d_head) {
  for (const char* part : {"weight", "bias"}) {
    const std::string name = fmt::format("{}.{}", hf, part);
    if (std::string_view(part) == "weight" || has(name))
      put(fmt::format("{}.{}", gguf, part), degrouped_qkv(take(name), groups, q_per_group, d_head));
  }
}

Tensor HfImport::allocate(const Tensor& like, std::vector<uint64_t> shape, std::byte** data) {
  throw_if_stopped(stop_);  // every rearranged tensor begins here
  Tensor t{like.name, like.dtype, std::move(shape), {}};
  auto buffer = std::make_shared<AlignedBuffer>(t.rows() * row_bytes(t.dtype, t.cols()));
  t.data = buffer->bytes();
  *data = buffer->data();
  out_.owners.push_back(std::move(buffer));
  return t;
}

std::span<const uint32_t> HfImport::order_of(const Tensor& t) const {
  if (is_plain(t.dtype)) return {};
  const auto found = folder_->orders.find(t.name);
  return found == folder_->orders.end() ? std::span<const uint32_t>() : found->second;
}

std::vector<float> HfImport::decoded(const Tensor& t) const {
  std::vector<float> values(t.n_elems()), scratch;
  codec(must_compute(t).dtype).decode(t.data.data(), values.data(), values.size());
  if (const std::span<const uint32_t> order = order_of(t); !order.empty())
    for (size_t r = 0; r < t.rows(); ++r)
      put_in_place(order, std::span(values).subspan(r * t.cols(), t.cols()), scratch);
  return values;
}

Tensor HfImport::plain(const Tensor& t) {
  if (is_plain(must_compute(t).dtype)) return t;
  Tensor out = from_floats(decoded(t), t.shape);
  out.name = t.name;
  return out;
}

Tensor HfImport::transposed(const Tensor& stored) {
  const Tensor t = plain(stored);
  if (t.shape.size() != 2)
    fail(ErrorKind::kFormat, "tensor '{}' has shape {}, expected a matrix", t.name, shape_text(t.shape));
  std::byte* data;
  const size_t rows = t.shape[0], cols = t.shape[1], bytes = info(t.dtype).block_bytes;
  Tensor out = allocate(t, {cols, rows}, &data);
  constexpr size_t kTile = 32;  // both sides of a tile stay in cache
  for (size_t r0 = 0; r0 < rows; r0 += kTile)
    for (size_t c0 = 0; c0 < cols; c0 += kTile)
      for (size_t r = r0; r < std::min(rows, r0 + kTile); ++r)
        for (size_t c = c0; c < std::min(cols, c0 + kTile); ++c)
          std::memcpy(data + (c * rows + r) * bytes, t.data.data() + (r * cols + c) * bytes, bytes);
  return out;
}

Tensor HfImport::rows(const Tensor& t, size_t begin, size_t count) {
  must_compute(t);
  const size_t n = first_dim(t);
  if (begin + count > n)
    fail(ErrorKind::kFormat, "tensor '{}' has {} rows, expected at least {}", t.name, n, begin + count);
  const size_t bytes = n ? t.data.size() / n : 0;
  Tensor out = t;
  out.shape[0] = count;
  out.data = t.data.subspan(begin * bytes, count * bytes);
  return out;
}

Tensor HfImport::with_rows_in_order(const Tensor& t, std::span<const uint32_t> order) {
  must_compute(t);
  const size_t n = first_dim(t);
  if (order.size() != n) fail(ErrorKind::kFormat, "tensor '{}' has {} rows, expected {}", t.name, n, order.size());
  std::byte* data;
  Tensor out = allocate(t, t.shape, &data);
  const size_t bytes = t.data.size() / n;
  for (size_t r = 0; r < n; ++r) std::memcpy(data + r * bytes, t.data.data() + order[r] * bytes, bytes);
  return out;
}

Tensor HfImport::concatenated(std::span<const Tensor> parts) {
  HUNCH_CHECK(!parts.empty());
  const auto is_ordered_alike = [&](const Tensor& t) { return std::ranges::equal(order_of(t), order_of(parts[0])); };
  if (!std::ranges::all_of(parts, is_ordered_alike)) {
    std::vector<Tensor> floats;
    for (const Tensor& p : parts) floats.push_back(plain(p));
    return concatenated(floats);
  }
  std::vector<uint64_t> shape = parts[0].shape;
  shape[0] = 0;
  for (const Tensor& p : parts) {
    if (must_compute(p).dtype != parts[0].dtype || p.cols() != parts[0].cols() || p.shape.size() != shape.size())
      fail(ErrorKind::kFormat, "tensors '{}' {} {} and '{}' {} {} do not go together", parts[0].name,
           name_of(parts[0].dtype), shape_text(parts[0].shape), p.name, name_of(p.dtype), shape_text(p.shape));
    shape[0] += p.shape[0];
  }
  std::byte* data;
  Tensor out = allocate(parts[0], shape, &data);
  for (const Tensor& p : parts) {
    std::memcpy(data, p.data.data(), p.data.size());
    data += p.data.size();
  }
  return out;
}

Tensor HfImport::stacked(std::span<const Tensor> parts) {
  std::vector<Tensor> flat(parts.begin(), parts.end());
  for (Tensor& t : flat) {
    if (t.shape != parts[0].shape)
      fail(ErrorKind::kFormat, "tensors '{}' {} and '{}' {} differ in shape", parts[0].name, shape_text(parts[0].shape),
           t.name, shape_text(t.shape));
    t.shape.insert(t.shape.begin(), 1);
  }
  return concatenated(flat);
}

Tensor HfImport::scaled_rows(const Tensor& t, size_t count, float factor) {
  const size_t n = first_dim(must_compute(t));
  if (count > n) fail(ErrorKind::kFormat, "tensor '{}' has {} rows, expected at least {}", t.name, n, count);
  std::vector<float> values = decoded(t);
  const size_t n_scaled = n ? values.size() / n * count : 0;
  for (size_t i = 0; i < n_scaled; ++i) values[i] *= factor;
  return from_floats(values, t.shape);
}

Tensor HfImport::plus_one(const Tensor& t) {
  std::vector<float> values = decoded(t);
  for (float& v : values) v += 1.0f;
  return from_floats(values, t.shape);
}

Tensor HfImport::minus_exp(const Tensor& t) {
  std::vector<float> values = decoded(t);
  for (float& v : values) v = -std::exp(v);
  return from_floats(values, t.shape);
}

Tensor HfImport::with_cols_in_order(const Tensor& t, std::span<const uint32_t> order) {
  return transposed(with_rows_in_order(transposed(t), order));
}

Tensor HfImport::reshaped(Tensor t, std::vector<uint64_t> shape) {
  const uint64_t n = t.n_elems();
  const std::string before = shape_text(t.shape);
  t.shape = std::move(shape);
  if (t.n_elems() != n)
    fail(ErrorKind::kFormat, "tensor '{}' has shape {}, expected {}", t.name, before, shape_text(t.shape));
  return t;
}

Tensor HfImport::from_floats(std::span<const float> values, std::vector<uint64_t> shape) {
  std::byte* data;
  Tensor out = allocate(Tensor{"", DType::kF32, {}, {}}, std::move(shape), &data);
  HUNCH_CHECK(out.n_elems() == values.size());
  std::memcpy(data, values.data(), values.size_bytes());
  return out;
}

Tensor HfImport::interleaved_rope_rows(const Tensor& t, size_t n_head) {
  const size_t n = first_dim(t);
  if (n_head == 0 || n % (2 * n_head) != 0)
    fail(ErrorKind::kFormat, "tensor '{}' has {} rows, expected a multiple of 2 x {} heads", t.name, n, n_head);
  const size_t d_head = n / n_head, half = d_head / 2;
  std::vector<uint32_t> order(n);
  for (size_t h = 0; h < n_head; ++h)
    for (size_t i = 0; i < half; ++i) {
      order[h * d_head + 2 * i] = uint32_t(h * d_head + i);
      order[h * d_head + 2 * i + 1] = uint32_t(h * d_head + half + i);
    }
  return with_rows_in_order(t, order);
}

Tensor HfImport::degrouped_qkv(const Tensor& t, size_t groups, size_t q_per_group, size_t d_head) {
  const size_t per_group = (q_per_group + 2) * d_head;
  if (groups == 0 || per_group == 0 || first_dim(t) % groups != 0 || first_dim(t) / groups != per_group)
    fail(ErrorKind::kFormat,
         "tensor '{}' has {} rows, expected {} groups of {} query, one key and one value head of {} rows", t.name,
         first_dim(t), groups, q_per_group, d_head);
  std::vector<uint32_t> order;
  order.reserve(groups * per_group);
  const auto add = [&](size_t group, size_t begin, size_t count) {
    for (size_t i = 0; i < count; ++i) order.push_back(uint32_t(group * per_group + begin + i));
  };
  for (size_t g = 0; g < groups; ++g) add(g, 0, q_per_group * d_head);
  for (size_t g = 0; g < groups; ++g) add(g, q_per_group * d_head, d_head);
  for (size_t g = 0; g < groups; ++g) add(g, (q_per_group + 1) * d_head, d_head);
  return with_rows_in_order(t, order);
}

std::vector<std::string> HfImport::unused() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : by_name_)
    if (!used_.count(name) && !is_buffer(name)) names.push_back(name);
  return names;
}

ModelFile HfImport::finish() {
  out_.index();
  return std::move(out_);
}

}  // namespace hunch
