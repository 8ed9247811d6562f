#include "select/prompt_statistic.h"

#include "base/error.h"
#include "kernels/ops.h"
#include "select/top_k.h"

namespace hunch {

void PromptStatistic::add(Compute& compute, MatView<const float> Z) {
  if (squares_.empty()) squares_.assign(Z.cols, 0.0f);
  HUNCH_CHECK(squares_.size() == Z.cols, "{} neurons, the tokens before had {}", Z.cols, squares_.size());
  n_tokens_ += Z.rows;
  inverse_.resize(Z.rows);  // 1 / ||z||^2
  compute.threads.parallel_for(Z.rows, 8, [&](size_t begin, size_t end) {
    for (size_t t = begin; t < end; ++t) {
      const float norm = dot(Z.row(t), Z.row(t));
      inverse_[t] = norm > 0 ? 1.0f / norm : 0.0f;
    }
  });
  compute.threads.parallel_for(Z.cols, 64, [&](size_t begin, size_t end) {
    for (size_t t = 0; t < Z.rows; ++t) {
      const float scale = inverse_[t];
      if (scale == 0) continue;
      const std::span<const float> z = Z.row(t);
      for (size_t j = begin; j < end; ++j) squares_[j] += z[j] * z[j] * scale;
    }
  });
}

void PromptStatistic::select(size_t k, Rows& out) const {
  if (n_tokens_ == 0) return out.refill_all(squares_.size());
  select_top_k(squares_, k, out);
}

void PromptStatistic::clear() {
  n_tokens_ = 0;
  squares_.clear();
}

}  // namespace hunch
