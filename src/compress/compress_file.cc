#include "compress/compress_file.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "io/int8_tensor.h"
#include "io/rotated_tensors.h"
#include "linear/values.h"

namespace hunch {
namespace {

// 0 for a tensor of no layer.
size_t order_of(const std::string& name) {
  return name.starts_with("blk.") ? size_t(std::strtoull(name.c_str() + 4, nullptr, 10)) + 1 : 0;
}

}  // namespace

CompressFile::CompressFile(const Engine& engine, CompressWalk& walk, const CompressOptions& options,
                           CompressReport& report)
    : engine_(engine), file_(engine.model->file()), walk_(walk), options_(options), report_(report) {
  place();
}

void CompressFile::place() {
  const ModelWeights& weights = std::as_const(*engine_.model).weights();
  std::set<std::string> chosen;
  for (const Layer& layer : weights.layers)
    layer.for_each_linear([&](const Linear& linear) {
      const auto where = weights.tensors.find(linear.id);
      if (where == weights.tensors.end()) return;
      Home& home = homes_[where->second.stored];
      if (home.matrices.empty()) home.where = where->second;
      home.matrices.push_back(&linear);
      if (walk_.chooses(linear.id.role)) chosen.insert(where->second.stored);
    });
  std::erase_if(homes_, [&](const auto& entry) { return !chosen.contains(entry.first); });
  for (auto& [name, home] : homes_) {
    home.target = walk_.target_of(home.where);
    if (!options_.types.contains(name) && home.target.dtype != options_.target.dtype &&
        short_rows_.insert(home.where.n_in).second)
      report_.notes.push_back(fmt::format("rows of {} are no whole {} blocks of {}: written as {}", home.where.n_in,
                                          name_of(options_.target.dtype), info(options_.target.dtype).block_elems,
                                          name_of(home.target.dtype)));
    const auto not_chosen = [&](const Linear* m) { return !walk_.chooses(m->id.role); };
    if (std::ranges::any_of(home.matrices, not_chosen))
      report_.notes.push_back(
          fmt::format("{} holds other matrices too, which are rounded to {}", name, name_of(home.target.dtype)));
  }
}

std::vector<TensorToWrite> CompressFile::tensors() {
  std::vector<std::pair<size_t, TensorToWrite>> out;
  for (const Tensor& t : file_.tensors) {
    const size_t order = order_of(t.name);
    report_.bytes_before += t.data.size();
    TensorToWrite w{t.name, t.dtype, t.shape, [&t] { return t.data; }};
    if (const auto home = homes_.find(t.name); home != homes_.end()) {
      w = written(t, home->second);
      for (TensorToWrite& more : beside(home->second)) {
        uint64_t n = 1;
        for (const uint64_t d : more.shape) n *= d;
        report_.bytes += n * info(more.dtype).block_bytes;
        out.emplace_back(order, std::move(more));
      }
    } else if (scales_inputs(options_.methods.rounder) && takes_scales(t.name)) {
      w.dtype = DType::kF32;
      w.produce = [this, &t, order] { return vector_of(t, order - 1); };
    }
    report_.bytes += t.cols() ? t.n_elems() / w.shape.back() * row_bytes(w.dtype, w.shape.back()) : 0;
    out.emplace_back(order, std::move(w));
  }
  std::ranges::stable_sort(out, {}, [](const auto& entry) { return entry.first; });
  std::vector<TensorToWrite> tensors;
  for (auto& [order, tensor] : out) tensors.push_back(std::move(tensor));
  return tensors;
}

TensorToWrite CompressFile::written(const Tensor& tensor, const Home& home) {
  const bool rotated = walk_.rotates(home.matrices[0]->id.role);
  TensorToWrite w{rotated ? rotated_rows(without_weight(home.where.name)) : home.where.name, home.target.dtype,
                  tensor.shape, [this, &home] { return rows_of(home); }};
  if (home.where.by_input) w.shape = {home.where.n_out, home.where.n_in};
  return w;
}

template <class Each>
void CompressFile::for_int8(const Home& home, const Each& each) {
  const ModelWeights& weights = std::as_const(*engine_.model).weights();
  const CompressResult& result = walk_.layer(home.matrices[0]->id.layer);
  for (const Linear* m : home.matrices) {
    const size_t first = weights.tensors.at(m->id).first;
    const auto found = std::ranges::find(result.matrices, m->id, &CompressedMatrix::id);
    if (found != result.matrices.end()) {
      each(first, found->encoded, found->int8);
    } else {
      Matrix W(m->n_out, m->n_in);
      decode_rows(*engine_.compute, Values(*engine_.compute, *m).rows(), W.view());
      const Int8Matrix nearest = int8_matrix(W, {{}, nullptr, walk_.outliers(m->id)}, options_.int8);
      each(first, nearest.codes, nearest.side);
    }
  }
}

std::vector<TensorToWrite> CompressFile::beside(const Home& home) {
  if (home.target.dtype != DType::kI8) return {};
  const std::string name = without_weight(home.where.name);
  std::vector<TensorToWrite> out;
  uint64_t n_rows = 0;
  for (const Linear* m : home.matrices) n_rows += m->n_out;
  const bool alone = home.matrices.size() == 1, one = alone && options_.int8.scales == Int8Scales::kMatrix;
  out.push_back({int8_scale(name), DType::kF32, {one ? 1 : n_rows}, [this, &home] { return scales_of(home); }});
  if (options_.int8.static_inputs) {
    const bool experts = home.matrices[0]->id.expert < LinearId::kShared;
    out.push_back({int8_input(name), DType::kF32, {experts ? home.matrices.size() : 1}, [this, &home] {
                     return input_scales_of(home);
                   }});
  }
  const std::span<const uint32_t> outliers = walk_.outliers(home.matrices[0]->id);
  if (outliers.empty()) return out;
  out.push_back({int8_outliers(name), DType::kI32, {outliers.size()}, [outliers] { return std::as_bytes(outliers); }});
  out.push_back({int8_outlier_weight(name), DType::kF16, {n_rows, outliers.size()}, [this, &home] {
                   return outlier_weights_of(home);
                 }});
  return out;
}

std::span<const std::byte> CompressFile::scales_of(const Home& home) {
  std::vector<float> all;
  for_int8(home, [&](size_t first, const EncodedMatrix& codes, const Int8Side& side) {
    const bool one = home.matrices.size() == 1 && side.scale.size() == 1;
    all.resize(std::max(all.size(), first + (one ? 1 : codes.rows)));
    for (size_t r = 0; r < (one ? 1 : codes.rows); ++r) all[first + r] = side.scale[side.scale.size() == 1 ? 0 : r];
  });
  const auto bytes = std::as_bytes(std::span(all));
  bytes_.assign(bytes.begin(), bytes.end());
  return bytes_;
}

// Matrices in a tensor that are no experts read the same; one that is not chosen goes by its neighbours.
std::span<const std::byte> CompressFile::input_scales_of(const Home& home) {
  std::vector<float> all;
  for_int8(home, [&](size_t, const EncodedMatrix&, const Int8Side& side) { all.push_back(side.input_scale); });
  if (home.matrices[0]->id.expert >= LinearId::kShared) all = {*std::ranges::max_element(all)};
  const auto bytes = std::as_bytes(std::span(all));
  bytes_.assign(bytes.begin(), bytes.end());
  return bytes_;
}

std::span<const std::byte> CompressFile::outlier_weights_of(const Home& home) {
  bytes_.clear();
  for_int8(home, [&](size_t first, const EncodedMatrix&, const Int8Side& side) {
    const std::span<const std::byte> rows = side.outlier_weight.bytes.bytes();
    const size_t at = first * side.outliers.size() * sizeof(uint16_t);
    bytes_.resize(std::max(bytes_.size(), at + rows.size()));
    std::ranges::copy(rows, bytes_.begin() + ptrdiff_t(at));
  });
  return bytes_;
}

// Valid until the next call.
std::span<const std::byte> CompressFile::rows_of(const Home& home) {
  const ModelWeights& weights = std::as_const(*engine_.model).weights();
  const CompressResult& result = walk_.layer(home.matrices[0]->id.layer);
  const size_t stride = row_bytes(home.target.dtype, home.where.n_in);
  size_t n_rows = 0;
  for (const Linear* m : home.matrices) n_rows = std::max(n_rows, weights.tensors.at(m->id).first + m->n_out);
  bytes_.assign(n_rows * stride, std::byte(0));
  for (const Linear* m : home.matrices) {
    std::byte* const to = bytes_.data() + weights.tensors.at(m->id).first * stride;
    const auto found = std::ranges::find(result.matrices, m->id, &CompressedMatrix::id);
    if (found != result.matrices.end()) {
      std::memcpy(to, found->encoded.bytes.data(), m->n_out * stride);
      note_matrix(*m, *found,
                  found->encoded.bytes.size() + found->int8.scale.size() * sizeof(float) +
                      found->int8.outlier_weight.bytes.size(),
                  report_);
      continue;
    }
    Matrix W(m->n_out, m->n_in);
    decode_rows(*engine_.compute, Values(*engine_.compute, *m).rows(), W.view());
    const EncodedMatrix nearest = home.target.dtype == DType::kI8
                                      ? int8_matrix(W, {{}, nullptr, walk_.outliers(m->id)}, options_.int8).codes
                                      : encode_nearest(*engine_.compute, W, home.target);
    std::memcpy(to, nearest.bytes.data(), m->n_out * stride);
  }
  return bytes_;
}

std::span<const std::byte> CompressFile::vector_of(const Tensor& tensor, size_t layer) {
  std::vector<float> values(tensor.n_elems());
  codec(tensor.dtype).decode(tensor.data.data(), values.data(), values.size());
  for (const ChangedVector& change : walk_.layer(layer).vectors)
    if (change.tensor == tensor.name) std::ranges::copy(change.values, values.begin() + ptrdiff_t(change.first));
  const auto bytes = std::as_bytes(std::span(values));
  bytes_.assign(bytes.begin(), bytes.end());
  return bytes_;
}

bool takes_scales(const std::string& name) {
  // The norms of norm_name(), not those of heads.
  constexpr std::string_view kNames[] = {".attn_norm.weight",
                                         ".attn_norm.bias",
                                         ".attn_norm_2.weight",
                                         ".attn_norm_2.bias",
                                         ".ffn_norm.weight",
                                         ".ffn_norm.bias",
                                         ".post_attention_norm.weight",
                                         ".post_attention_norm.bias",
                                         ".attn_v.bias",
                                         ".attn_qkv.bias",
                                         ".ffn_up.bias"};
  return order_of(name) > 0 && std::ranges::any_of(kNames, [&](std::string_view end) { return name.ends_with(end); });
}

void note_matrix(const Linear& matrix, const CompressedMatrix& compressed, uint64_t bytes, CompressReport& report) {
  CompressedRole& role = report.roles[matrix.id.role];
  ++role.n_matrices;
  role.error += (compressed.error - role.error) / double(role.n_matrices);
  role.worst = std::max(role.worst, compressed.error);
  role.n_weights += uint64_t{matrix.n_out} * matrix.n_in;
  role.n_zeros += compressed.n_zeros;
  role.bytes_before += matrix.bytes();
  role.bytes += bytes;
  if (compressed.n_tokens == 0)
    report.notes.push_back(
        fmt::format("{} of layer {}, expert {}: the text never comes to it; its weights alone decided",
                    name_of(matrix.id.role), matrix.id.layer, matrix.id.expert));
  if (compressed.damping > 0)
    report.notes.push_back(
        fmt::format("{} of layer {}: the moment of its inputs is singular; damped by {} of its mean "
                    "diagonal",
                    name_of(matrix.id.role), matrix.id.layer, compressed.damping));
}

}  // namespace hunch
