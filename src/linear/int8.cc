#include "linear/int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/memory_info.h"
#include "base/union.h"
#include "formats/format.h"
#include "kernels/matmul.h"
#include "linear/kept_inputs.h"

namespace hunch {
namespace {

void check(const Int8::Parts& p, std::string_view name) {
  const size_t n_out = p.codes.rows, n_in = p.codes.cols;
  if (n_in > kInt8MostColumns)
    fail(ErrorKind::kUnsupported, "'{}': int8 rows of {}; sums of more than {} may not fit 32 bits", name, n_in,
         kInt8MostColumns);
  if (p.scale.size() != 1 && p.scale.size() != n_out)
    fail(ErrorKind::kFormat, "'{}': expected a scale for each of {} rows, or one; found {}", name, n_out,
         p.scale.size());
  if (!std::isfinite(p.input_scale) || p.input_scale < 0)
    fail(ErrorKind::kFormat, "'{}': expected a scale of inputs above 0, found {}", name, p.input_scale);
  for (size_t i = 0; i < p.outliers.size(); ++i)
    if (p.outliers[i] >= n_in || (i > 0 && p.outliers[i] <= p.outliers[i - 1]))
      fail(ErrorKind::kFormat, "'{}': inputs that are kept apart ascend and are less than {}; found {}", name, n_in,
           p.outliers[i]);
  if (!p.outliers.empty() && (p.outlier_weight.rows != n_out || p.outlier_weight.cols != p.outliers.size()))
    fail(ErrorKind::kFormat, "'{}': expected weights [{}, {}] of the inputs that are kept apart, found [{}, {}]", name,
         n_out, p.outliers.size(), p.outlier_weight.rows, p.outlier_weight.cols);
}

// [n, filled up to whole strips with zeros].
std::vector<float> padded(std::span<const float> values, size_t n) {
  std::vector<float> out(int8_strips(n) * kInt8StripRows);
  if (values.size() == 1) std::fill_n(out.begin(), n, values[0]);
  if (values.size() == n) std::ranges::copy(values, out.begin());
  return out;
}

// The quads of a row's wanted inputs, ascending.
std::span<const uint32_t> quads_of(Compute& compute, const Rows& rows, size_t unit) {
  const std::span<uint32_t> quads = compute.arena.take<uint32_t>(rows.size() * (unit / kInt8Quad + 2));
  size_t n = 0;
  for (const uint32_t id : rows.ids()) {
    const auto first = uint32_t(id * unit / kInt8Quad), last = uint32_t((id * unit + unit - 1) / kInt8Quad);
    for (uint32_t q = n > 0 && quads[n - 1] >= first ? quads[n - 1] + 1 : first; q <= last; ++q) quads[n++] = q;
  }
  return quads.first(n);
}

// The strips with rows that any token wants.
std::span<const uint32_t> strips_of(Compute& compute, const Rows& any, size_t unit, size_t n_out) {
  const std::span<uint32_t> strips = compute.arena.take<uint32_t>(int8_strips(n_out));
  size_t n = 0;
  for (const uint32_t id : any.ids()) {
    const auto first = uint32_t(id * unit / kInt8StripRows), last = uint32_t((id * unit + unit - 1) / kInt8StripRows);
    for (uint32_t s = n > 0 && strips[n - 1] >= first ? strips[n - 1] + 1 : first; s <= last; ++s) strips[n++] = s;
  }
  return strips.first(n);
}

}  // namespace

Int8::Int8(LinearId id, Compute& compute, const Parts& parts, std::vector<float> bias, std::string_view name)
    : Linear(id, parts.codes.cols, parts.codes.rows),
      bias_(std::move(bias)),
      input_scale_(parts.input_scale),
      outliers_(parts.outliers) {
  HUNCH_CHECK(bias_.empty() || bias_.size() == n_out, "bias of {} for {} rows", bias_.size(), n_out);
  check(parts, name);
  scale_ = padded(parts.scale, n_out);
  if (!bias_.empty()) padded_bias_ = padded(bias_, n_out);
  if (bias_.size() == 1) padded_bias_[0] = bias_[0];
  const size_t n_strips = int8_strips(n_out), stride = int8_strip_bytes(n_in);
  require_memory(n_strips * stride, "a matrix of int8");
  strips_ = AlignedBuffer(n_strips * stride);
  compute.threads.parallel_for(n_strips, 8, [&](size_t begin, size_t end) {
    compute.throw_if_stopped();
    for (size_t s = begin; s < end; ++s)
      pack_int8_strip(reinterpret_cast<const int8_t*>(parts.codes.row(s * kInt8StripRows)),
                      parts.codes.row_stride_bytes, std::min(kInt8StripRows, n_out - s * kInt8StripRows), n_in,
                      reinterpret_cast<int8_t*>(strips_.data()) + s * stride);
  });
  if (outliers_.empty()) return;
  const WeightView& W = parts.outlier_weight;
  const size_t row = row_bytes(W.dtype, W.cols);
  outlier_weight_ = AlignedBuffer(n_out * row);
  for (size_t r = 0; r < n_out; ++r) std::memcpy(outlier_weight_.data() + r * row, W.row(r), row);
  outlier_view_ = {W.dtype, outlier_weight_.data(), n_out, W.cols, row};
}

void Int8::decode(Compute&, MatView<float> out) const {
  std::vector<int8_t> codes(n_in);
  std::vector<float> apart(outliers_.size());
  for (size_t r = 0; r < n_out; ++r) {
    unpack_int8_row(strip(r / kInt8StripRows), r % kInt8StripRows, codes);
    for (size_t i = 0; i < n_in; ++i) out.row(r)[i] = scale_[r] * float(codes[i]);
    if (outliers_.empty()) continue;
    codec(outlier_view_.dtype).decode(outlier_view_.row(r), apart.data(), apart.size());
    for (size_t i = 0; i < apart.size(); ++i) out.row(r)[outliers_[i]] += apart[i];
  }
}

// X in int8, without what is kept apart.
Int8Tokens Int8::rounded(Compute& compute, MatView<const float> X) const {
  if (outliers_.empty()) return round_to_int8(compute, X, input_scale_);
  const MatView<float> rest(compute.arena.take<float>(X.rows * X.cols).data(), X.rows, X.cols);
  compute.threads.parallel_for(X.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      std::ranges::copy(X.row(t), rest.row(t).begin());
      for (const uint32_t c : outliers_) rest.row(t)[c] = 0;
    }
  });
  return round_to_int8(compute, rest, input_scale_);
}

Int8Task Int8::task(MatView<float> Y) const {
  return {strip(0), scale_.data(), padded_bias_.empty() ? nullptr : padded_bias_.data(), Y, {}, false};
}

// To rows of Y that are computed; the others stay as they are, which the caller sets to 0.
void Int8::add_outliers(Compute& compute, Tokens tokens, MatView<const float> X, MatView<float> Y) const {
  if (outliers_.empty()) return;
  const Arena::Scope scope(compute.arena);
  const size_t k = outliers_.size();
  const MatView<float> apart(compute.arena.take<float>(X.rows * k).data(), X.rows, k);
  for (size_t t = 0; t < X.rows; ++t)
    for (size_t i = 0; i < k; ++i) apart.row(t)[i] = X.row(t)[outliers_[i]];
  const MatView<float> more(compute.arena.take<float>(X.rows * n_out).data(), X.rows, n_out);
  const MatmulTask task{outlier_view_, {}, more};
  // In the order of a token alone: few columns cost little.
  matmul(compute, apart, {&task, 1}, TokenBits::kAsAlone);
  compute.threads.parallel_for(X.rows, 4, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t)
      for (size_t r = 0; r < n_out; ++r) Y.row(t)[r] += more.row(t)[r];
  });
}

void Int8::dot_beside(Compute& compute, Tokens tokens, MatView<const float> X,
                      std::span<const Product> products) const {
  const auto of = [&](const Product& p) -> const Int8& { return static_cast<const Int8&>(*p.linear); };
  const Arena::Scope all(compute.arena);
  const std::span<Int8Task> tasks = compute.arena.take<Int8Task>(products.size());
  for (size_t begin = 0, end = 0; begin < products.size(); begin = end) {
    const Arena::Scope scope(compute.arena);
    const Int8Tokens x = of(products[begin]).rounded(compute, X);
    for (end = begin; end < products.size() && of(products[end]).reads_as(of(products[begin])); ++end) {
      new (&tasks[end - begin]) Int8Task(of(products[end]).task(products[end].Y));
      compute.meter.read_weights(of(products[end]).bytes());
    }
    multiply_int8(compute, x, tasks.first(end - begin));
  }
  for (const Product& p : products) of(p).add_outliers(compute, tokens, X, p.Y);
}

void Int8::dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const {
  const Arena::Scope scope(compute.arena);
  const Product whole{this, Y};
  if (out.is_all()) return dot_beside(compute, tokens, X, {&whole, 1});
  select_union(out.own, compute.any_rows);
  Int8Task some = task(Y);
  some.only_chosen = !compute.any_rows.is_all();
  if (some.only_chosen) some.chosen = strips_of(compute, compute.any_rows, out.unit, n_out);
  compute.meter.read_weights(some.only_chosen ? some.chosen.size() * int8_strip_bytes(n_in) : bytes());
  // Tiles take whole matrices only.
  if (X.rows >= Int8Tokens::kTile) some.only_chosen = false;
  if (some.only_chosen)
    for (size_t t = 0; t < Y.rows; ++t) std::ranges::fill(Y.row(t), 0.0f);
  multiply_int8(compute, rounded(compute, X), {&some, 1});
  add_outliers(compute, tokens, X, Y);
  for (size_t t = 0; t < Y.rows; ++t)
    if (!out.own[t].is_all()) keep_only(out.own[t], Y.row(t), out.unit);
}

void Int8::add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const {
  if (in.is_all()) return dot(compute, tokens, A, {}, Y);
  const Arena::Scope scope(compute.arena);
  const MatView<const float> kept = kept_inputs(compute, A, in);
  // Every token by itself where that reads less than all of the matrix.
  const size_t n_all = int8_padded(n_in) / kInt8Quad;
  size_t n_own = 0;
  for (const Rows& own : in.own)
    n_own += own.is_all() ? n_all : std::min(n_all, own.size() * (in.unit + kInt8Quad - 1) / kInt8Quad);
  if (n_own >= n_all) return dot(compute, tokens, kept, {}, Y);
  for (size_t t = 0; t < A.rows; ++t) {
    Int8Tokens x = rounded(compute, kept.row_range(t, 1));
    x.only_quads = true;
    x.quads = quads_of(compute, in.own[t], in.unit);
    compute.meter.read_weights(x.quads.size() * kInt8Quad * n_out);
    const Int8Task whole = task(Y.row_range(t, 1));
    multiply_int8(compute, x, {&whole, 1});
    add_outliers(compute, tokens.subspan(t, 1), kept.row_range(t, 1), Y.row_range(t, 1));
  }
}

}  // namespace hunch
