// For tests: golden keys and values as attention reads them.
#pragma once
#include <algorithm>
#include <vector>

#include "io/golden_arrays.h"
#include "kernels/attention.h"

namespace hunch {

// A cache of f32 in pages of 64 that holds a golden text, [n_kv_head][n_tokens][d], each head n_times.
class GoldenCache {
 public:
  GoldenCache(const GoldenArray<float>& k, const GoldenArray<float>& v, size_t n_times = 1) {
    const size_t n_kv = k.shape[0] * n_times, n = k.shape[1], d = k.shape[2], n_pages = (n + kPage - 1) / kPage;
    pages_.assign(n_pages, std::vector<float>(2 * n_kv * kPage * d));
    for (size_t head = 0; head < n_kv; ++head)
      for (size_t t = 0; t < n; ++t) {
        float* const to = pages_[t / kPage].data() + (head * kPage + t % kPage) * d;
        std::ranges::copy(k.row(head / n_times, t), to);
        std::ranges::copy(v.row(head / n_times, t), to + n_kv * kPage * d);
      }
    for (const auto& page : pages_) table_.push_back(reinterpret_cast<const std::byte*>(page.data()));
    view = {table_, kPage, n_kv, d, DType::kF32, n_kv * kPage * d * sizeof(float), n, {}};
  }
  KvView view;

 private:
  static constexpr size_t kPage = 64;
  std::vector<std::vector<float>> pages_;
  std::vector<const std::byte*> table_;
};

}  // namespace hunch
