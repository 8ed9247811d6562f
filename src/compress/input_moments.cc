#include "compress/input_moments.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "kernels/matmul.h"
#include "model/layer.h"

namespace hunch {

bool InputMoments::covers(Role role) {
  switch (role) {
    case Role::kQuery:
    case Role::kKey:
    case Role::kValue:
    case Role::kHeads:
    case Role::kGate:
    case Role::kUp:
    case Role::kDown: return true;
    default: return false;
  }
}

InputMoments::Key InputMoments::key_of(const LinearId& id) {
  HUNCH_CHECK(covers(id.role), "nobody sees the inputs of {}", name_of(id.role));
  switch (id.role) {
    case Role::kHeads: return {InputPart::kHeads, LinearId::kNone};
    case Role::kGate:
    case Role::kUp: return {InputPart::kMlp, id.expert};
    case Role::kDown: return {InputPart::kNeurons, id.expert};
    default: return {InputPart::kAttention, LinearId::kNone};
  }
}

const InputMoment& InputMoments::of(const LinearId& id) const {
  static const InputMoment kNone;
  const auto found = moments_.find(key_of(id));
  return found == moments_.end() ? kNone : found->second;
}

uint64_t InputMoments::bytes_needed(const Layer& layer, const Sample& sample) {
  uint64_t bytes = 0;
  std::set<Key> seen;
  layer.for_each_linear([&](const Linear& linear) {
    if (covers(linear.id.role) && seen.insert(key_of(linear.id)).second)
      bytes += uint64_t{linear.n_in} * ((sample.and_sums ? linear.n_in : 0) + sample.most) * sizeof(float);
  });
  return bytes;
}

void InputMoments::add(Key key, MatView<const float> X) {
  InputMoment& moment = moments_[key];
  if (moment.n_tokens == 0)
    moment = {sample_.and_sums ? Matrix(X.cols, X.cols) : Matrix(), std::vector<double>(X.cols),
              std::vector<float>(X.cols), Matrix(0, X.cols), 0};
  for (size_t t = 0; t < X.rows; ++t) {
    for (size_t c = 0; c < X.cols; ++c) {
      const float v = std::abs(X.row(t)[c]);
      moment.magnitudes[c] += v;
      moment.largest[c] = std::max(moment.largest[c], v);
    }
    if ((moment.n_tokens + t) % sample_.every != 0 || moment.sample.rows >= sample_.most) continue;
    moment.sample.values.insert(moment.sample.values.end(), X.row(t).begin(), X.row(t).end());
    ++moment.sample.rows;
  }
  moment.n_tokens += X.rows;
  if (sample_.and_sums) add_products(X, moment.sum);
}

// By blocks of rows, each up to the diagonal and mirrored: half the products, and no second matrix of their sums' size.
void InputMoments::add_products(MatView<const float> X, Matrix& sum) {
  constexpr size_t kRows = 256;
  const size_t n = X.cols;
  const Matrix Xt = transpose(compute_, X);
  products_.resize(std::min(kRows, n) * n);
  for (size_t first = 0; first < n; first += kRows) {
    const size_t end = std::min(first + kRows, n);
    WeightView left = weight_view(X);
    left.cols = end;
    const MatView<float> products(products_.data(), end - first, end);
    matmul_transposed(compute_, MatView<const float>(Xt.values.data() + first * X.rows, end - first, X.rows), left, {},
                      products);
    compute_.threads.parallel_for(end - first, 8, [&](size_t from, size_t to) {
      for (size_t r = from; r < to; ++r) {
        float* row = sum.values.data() + (first + r) * n;
        for (size_t c = 0; c < end; ++c) row[c] += products.row(r)[c];
      }
    });
    compute_.threads.parallel_for(first, 16, [&](size_t from, size_t to) {
      for (size_t c = from; c < to; ++c)
        for (size_t r = first; r < end; ++r) sum.values[c * n + r] = sum.values[r * n + c];
    });
  }
}

void InputMoments::on_attention_input(size_t, MatView<const float> x) {
  add({InputPart::kAttention, LinearId::kNone}, x);
}

void InputMoments::on_heads(size_t, MatView<const float> attn_out) {
  add({InputPart::kHeads, LinearId::kNone}, attn_out);
}

void InputMoments::on_mlp(const MlpPlace& place, MatView<const float> mlp_in, MatView<const float> ff_act) {
  add({InputPart::kMlp, place.expert}, mlp_in);
  add({InputPart::kNeurons, place.expert}, ff_act);
}

}  // namespace hunch
