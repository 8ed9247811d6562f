#include "compress/store_sparse.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/gguf.h"
#include "io/sparse_tensors.h"

namespace hunch {
namespace {

constexpr double kMostOfDense = 0.9;
constexpr std::string_view kWeight = ".weight";

// NAME of a tensor NAME.weight that is one matrix of a layer, or one of each of its experts.
bool may_be_sparse(const ModelFile& model, const Tensor& t) {
  constexpr std::array<std::string_view, 7> kParts = {".attn_q",   ".attn_k", ".attn_v",  ".attn_output",
                                                      ".ffn_gate", ".ffn_up", ".ffn_down"};
  if (!has_sparse_rows(t.dtype) || t.shape.size() < 2 || t.cols() % 32 != 0 || !t.name.starts_with("blk.") ||
      !t.name.ends_with(kWeight))
    return false;
  const std::string name = t.name.substr(0, t.name.size() - kWeight.size());
  const size_t dot = name.rfind('.');
  std::string_view part = std::string_view(name).substr(dot);
  for (const std::string_view suffix : {"_exps", "_shexp"})
    if (part.ends_with(suffix)) part.remove_suffix(suffix.size());
  if (std::ranges::find(kParts, part) == kParts.end()) return false;
  // Not gate and up in one tensor, which the loader cuts.
  const Tensor* down = name.ends_with(".ffn_up") ? model.find(name.substr(0, dot) + ".ffn_down.weight") : nullptr;
  return !down || t.rows() == down->cols();
}

// One matrix on its way.
class SparseMatrix {
 public:
  SparseMatrix(const Tensor& t, Compute& compute)
      : tensor_(t), compute_(compute), view_(t.view()), counts_(view_.rows), span_(view_.cols) {
    std::atomic<size_t> span{view_.cols};
    compute.threads.parallel_for(view_.rows, 32, [&](size_t begin, size_t end) {
      compute.throw_if_stopped();
      for (size_t r = begin; r < end; ++r) counts_[r] = count_nonzero(view_, r);
      const size_t own = sparse_span(view_.row_range(begin, end - begin));
      for (size_t least = span; own < least && !span.compare_exchange_weak(least, own);) {
      }
    });
    span_ = t.dtype == DType::kF16 ? 0 : size_t(span);
    for (const size_t n : counts_) {
      n_nonzero_ += n;
      value_bytes_ += sparse_value_bytes(t.dtype, n);
    }
  }
  size_t n_nonzero() const { return n_nonzero_; }
  size_t mask_stride() const { return view_.cols / 8; }
  size_t scale_stride() const { return span_ ? view_.cols / span_ * 2 : 0; }
  size_t bytes() const { return value_bytes_ + view_.rows * (mask_stride() + scale_stride()); }

  // The tensors in the place of the dense one; `buffer` is what they are made in, one at a time.
  void write(std::vector<TensorToWrite>& out, Scratch& buffer) const {
    const std::string name = tensor_.name.substr(0, tensor_.name.size() - kWeight.size());
    std::vector<uint64_t> shape = tensor_.shape;
    shape.back() = mask_stride();
    out.push_back({sparse_mask(name), DType::kI8, shape, [this, &buffer] { return parts(buffer).mask; }});
    const bool halves = tensor_.dtype == DType::kF16;
    out.push_back({sparse_values(name, tensor_.dtype),
                   halves ? DType::kF16 : DType::kI8,
                   {halves ? value_bytes_ / 2 : value_bytes_},
                   [this, &buffer] { return parts(buffer).values; }});
    if (!span_) return;
    shape.back() = view_.cols / span_;
    out.push_back({sparse_scales(name), DType::kF16, shape, [this, &buffer] { return parts(buffer).scales; }});
  }

 private:
  struct Parts {
    std::span<const std::byte> mask, scales, values;
  };
  Parts parts(Scratch& buffer) const {
    const std::span<std::byte> all = buffer.get<std::byte>(bytes());
    const size_t n_mask = view_.rows * mask_stride(), n_scales = view_.rows * scale_stride();
    std::byte *mask = all.data(), *scales = mask + n_mask, *values = scales + n_scales;
    std::vector<size_t> offsets(view_.rows + 1, 0);
    for (size_t r = 0; r < view_.rows; ++r) offsets[r + 1] = offsets[r] + sparse_value_bytes(view_.dtype, counts_[r]);
    compute_.threads.parallel_for(view_.rows, 32, [&](size_t begin, size_t end) {
      compute_.throw_if_stopped();
      for (size_t r = begin; r < end; ++r)
        sparse_row_of_blocks(view_, r, span_, mask + r * mask_stride(), scales + r * scale_stride(),
                             values + offsets[r]);
    });
    return {{mask, n_mask}, {scales, n_scales}, {values, value_bytes_}};
  }

  const Tensor& tensor_;
  Compute& compute_;
  WeightView view_;
  std::vector<size_t> counts_;  // of each row's weights that are not zero
  size_t span_, n_nonzero_ = 0, value_bytes_ = 0;
};

}  // namespace

std::string describe(const SparseReport& report) {
  if (report.matrices.empty()) return "";
  return fmt::format("{} tensors, {:.1f} % zeros, are stored without them: {:.1f} MB instead of {:.1f} MB",
                     report.matrices.size(), 100 * double(report.n_zeros) / double(report.n_weights),
                     double(report.bytes) / 1e6, double(report.dense_bytes) / 1e6);
}

SparseReport store_sparse(const ModelFile& model, const std::filesystem::path& output, Compute& compute,
                          const Progress& progress) {
  SparseReport report;
  std::deque<SparseMatrix> matrices;
  std::vector<TensorToWrite> tensors;
  Scratch buffer;
  for (const Tensor& t : model.tensors) {
    if (may_be_sparse(model, t)) {
      const SparseMatrix& m = matrices.emplace_back(t, compute);
      if (double(m.bytes()) < kMostOfDense * double(t.data.size())) {
        m.write(tensors, buffer);
        report.matrices[t.name] = {t.dtype, t.n_elems(), t.n_elems() - m.n_nonzero(), t.data.size(), m.bytes()};
        continue;
      }
      matrices.pop_back();
    }
    tensors.push_back({t.name, t.dtype, t.shape, [&t] { return t.data; }});
  }
  for (const auto& [name, m] : report.matrices) {
    report.dense_bytes += m.dense_bytes, report.bytes += m.bytes;
    report.n_weights += m.n_weights, report.n_zeros += m.n_zeros;
  }
  if (!report.matrices.empty()) write_gguf(output, model.meta, tensors, progress, compute.stop);
  return report;
}

}  // namespace hunch
