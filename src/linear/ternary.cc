#include "linear/ternary.h"

#include <algorithm>

#include "base/error.h"
#include "base/memory_info.h"
#include "formats/format.h"
#include "kernels/ternary.h"

namespace hunch {
namespace {

constexpr size_t kRowsAtOnce = 32;

// The integers of W, [rows, cols].
std::vector<int8_t> integers(Compute& compute, const WeightView& W, std::string_view name) {
  std::vector<int8_t> all(W.rows * W.cols);
  compute.threads.parallel_for(W.rows, kRowsAtOnce, [&](size_t begin, size_t end) {
    std::vector<float> row(W.cols);
    compute.throw_if_stopped();
    for (size_t r = begin; r < end; ++r) {
      codec(W.dtype).decode(W.row(r), row.data(), W.cols);
      for (size_t i = 0; i < W.cols; ++i) {
        if (row[i] != -1 && row[i] != 0 && row[i] != 1)
          fail(ErrorKind::kFormat, "tensor '{}' has a scale of its own, so that its weights are -1, 0 or 1; found {}",
               name, row[i]);
        all[r * W.cols + i] = int8_t(row[i]);
      }
    }
  });
  return all;
}

}  // namespace

Ternary::Ternary(LinearId id, Compute& compute, const WeightView& W, std::vector<float> bias, const Options& options,
                 std::string_view name)
    : Linear(id, W.cols, W.rows), options_(options), bias_(std::move(bias)) {
  HUNCH_CHECK(bias_.empty() || bias_.size() == n_out, "bias of {} for {} rows", bias_.size(), n_out);
  require_memory(2 * n_out * ternary_bytes(n_in) + n_out * n_in, "a ternary matrix, two bits a weight");
  const std::vector<int8_t> all = integers(compute, W, name);
  rows_ = AlignedBuffer(n_out * ternary_bytes(n_in));
  compute.threads.parallel_for(n_out, kRowsAtOnce, [&](size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r)
      pack_ternary(std::span(all).subspan(r * n_in, n_in), rows_.data() + r * ternary_bytes(n_in));
  });
  if (!options.by_input) return;
  by_input_ = AlignedBuffer(n_in * ternary_bytes(n_out));
  compute.threads.parallel_for(n_in, kRowsAtOnce, [&](size_t begin, size_t end) {
    std::vector<int8_t> column(n_out);
    for (size_t i = begin; i < end; ++i) {
      for (size_t r = 0; r < n_out; ++r) column[r] = all[r * n_in + i];
      pack_ternary(column, by_input_.data() + i * ternary_bytes(n_out));
    }
  });
}

const std::byte* Ternary::row(size_t r) const { return rows_.data() + r * ternary_bytes(n_in); }

void Ternary::decode(Compute&, MatView<float> out) const {
  std::vector<int8_t> integers(n_in);
  for (size_t r = 0; r < n_out; ++r) {
    unpack_ternary(row(r), integers);
    for (size_t i = 0; i < n_in; ++i) out.row(r)[i] = options_.scale * float(integers[i]);
  }
}

Ternary::Input Ternary::prepare(Compute& compute, std::span<const float> x) const {
  const size_t n = ternary_padded(n_in);
  if (options_.round_inputs) {
    const std::span<int8_t> codes = compute.arena.take<int8_t>(n);
    const float scale = round_to_int8(x, codes);
    return {{}, codes, options_.scale * scale};
  }
  const std::span<float> values = compute.arena.take<float>(n);
  std::ranges::copy(x, values.begin());
  std::fill(values.begin() + ptrdiff_t(n_in), values.end(), 0.0f);
  return {values, {}, options_.scale};
}

float Ternary::dot(size_t r, const Input& x) const {
  const float product = options_.round_inputs ? float(ternary_dot(row(r), x.codes)) : ternary_dot(row(r), x.values);
  return x.scale * product + (bias_.empty() ? 0 : bias_[r]);
}

void Ternary::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const std::span<Input> inputs = compute.arena.take<Input>(tokens.size());
  for (size_t t = 0; t < tokens.size(); ++t) new (&inputs[t]) Input(prepare(compute, X.row(t)));
  compute.meter.read_weights(bytes());
  compute.threads.parallel_for(n_out, kRowsAtOnce, [&](size_t begin, size_t end) {
    if (out.own.empty()) {
      for (size_t r = begin; r < end; ++r)
        for (size_t t = 0; t < tokens.size(); ++t) Y.row(t)[r] = dot(r, inputs[t]);
      return;
    }
    for (size_t t = 0; t < tokens.size(); ++t) {
      const std::span<float> y = Y.row(t);
      const Rows& own = out.own[t];
      if (!own.is_all()) std::fill(y.begin() + ptrdiff_t(begin), y.begin() + ptrdiff_t(end), 0.0f);
      const auto ids = own.ids();
      size_t i = size_t(std::ranges::lower_bound(ids, uint32_t(begin / out.unit)) - ids.begin());
      for (size_t r = begin; r < end; ++r) {
        while (i < ids.size() && ids[i] < r / out.unit) ++i;
        if (own.is_all() || (i < ids.size() && ids[i] == r / out.unit)) y[r] = dot(r, inputs[t]);
      }
    }
  });
}

// The rows of so many inputs, in pieces of outputs.
void Ternary::add_chosen(Compute& compute, const Input& x, std::span<const uint32_t> ids, std::span<float> y) const {
  const size_t stride = ternary_bytes(n_out);
  compute.meter.read_weights(ids.size() * stride);
  compute.threads.parallel_for(stride / 64, 1, [&](size_t begin, size_t end) {
    for (size_t g = begin; g < end; ++g) {
      const size_t first = g * kTernaryGroup, n = std::min(kTernaryGroup, n_out - first);
      const std::byte* rows = by_input_.data() + g * 64;
      const auto write = [&](const auto& sums) {
        for (size_t r = 0; r < n; ++r) y[first + r] = x.scale * float(sums[r]) + (bias_.empty() ? 0 : bias_[first + r]);
      };
      if (options_.round_inputs) {
        int32_t sums[kTernaryGroup];
        ternary_sum(rows, stride, ids, x.codes, sums);
        write(sums);
      } else {
        float sums[kTernaryGroup];
        ternary_sum(rows, stride, ids, x.values, sums);
        write(sums);
      }
    }
  });
}

void Ternary::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  if (in.is_all()) return dot(compute, tokens, A, {}, Y);
  for (size_t t = 0; t < tokens.size(); ++t) {
    const Arena::Scope scope(compute.arena);
    const MatView<float> own(compute.arena.take<float>(n_in).data(), 1, n_in);
    std::ranges::copy(A.row(t), own.row(0).begin());
    keep_only(in.own[t], own.row(0), in.unit);
    if (in.own[t].is_all() || !reads_less_by_input(in.unit)) {
      dot(compute, tokens.subspan(t, 1), own, {}, Y.row_range(t, 1));
    } else {
      add_chosen(compute, prepare(compute, own.row(0)), in.own[t].ids(), Y.row(t));
    }
  }
}

}  // namespace hunch
