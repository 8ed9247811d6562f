#include "compress/compress_file.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "linear/values.h"

namespace hunch {
namespace {

// 0 for a tensor of no layer.
size_t order_of(const std::string& name) {
  return name.starts_with("blk.") ? size_t(std::strtoull(name.c_str() + 4, nullptr, 10)) + 1 : 0;
}

bool may_change(const std::string& name) {
  return name.ends_with("norm.weight") || name.ends_with("norm.bias") || name.ends_with("norm_2.weight") ||
         name.ends_with("norm_2.bias") || name.ends_with("attn_v.bias") || name.ends_with("attn_qkv.bias") ||
         name.ends_with("ffn_up.bias");
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
    home.target = fitting(options_.target, home.where.n_in);
    if (home.target.dtype != options_.target.dtype && short_rows_.insert(home.where.n_in).second)
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
    } else if (order > 0 && options_.methods.rounder == Rounder::kAwq && may_change(t.name)) {
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
  TensorToWrite w{home.where.name, home.target.dtype, tensor.shape, [this, &home] { return rows_of(home); }};
  if (home.where.by_input) w.shape = {home.where.n_out, home.where.n_in};
  return w;
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
      note(*m, *found);
      continue;
    }
    Matrix W(m->n_out, m->n_in);
    decode_rows(*engine_.compute, Values(*engine_.compute, *m).rows(), W.view());
    const EncodedMatrix nearest = encode_nearest(*engine_.compute, W, home.target);
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

void CompressFile::note(const Linear& matrix, const CompressedMatrix& compressed) {
  CompressedRole& role = report_.roles[matrix.id.role];
  ++role.n_matrices;
  role.error += (compressed.error - role.error) / double(role.n_matrices);
  role.worst = std::max(role.worst, compressed.error);
  role.n_weights += uint64_t{matrix.n_out} * matrix.n_in;
  role.n_zeros += compressed.n_zeros;
  role.bytes_before += matrix.bytes();
  role.bytes += compressed.encoded.bytes.size();
  if (compressed.n_tokens == 0)
    report_.notes.push_back(
        fmt::format("{} of layer {}, expert {}: the text never comes to it; its weights alone decided",
                    name_of(matrix.id.role), matrix.id.layer, matrix.id.expert));
  if (compressed.damping > 0)
    report_.notes.push_back(
        fmt::format("{} of layer {}: the moment of its inputs is singular; damped by {} of its mean "
                    "diagonal",
                    name_of(matrix.id.role), matrix.id.layer, compressed.damping));
}

}  // namespace hunch
