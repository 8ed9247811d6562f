// Tokens of a sequence whose keys and values were not computed yet for some heads, and what they are computed from.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace hunch {

// In every layer each head has the keys and values of a number of leading tokens: it is complete up to there. For the
// tokens after that, at most kCapacity of them, the input of W_k and W_v is kept. Knows nothing of pages: KvCache keeps
// the two in step.
// Idea: Liu et al. 2023, "Deja Vu" (arXiv:2310.17157), section 4.3: "a token's x is stored for heads that skip it".
class DeferredInputs {
 public:
  static constexpr size_t kCapacity = 64;

  explicit DeferredInputs(std::vector<uint32_t> n_heads)  // [n_layer]
      : n_heads_(std::move(n_heads)), layers_(n_heads_.size()) {}

  // Keeps the input of `token`, whose keys and values no head has yet. The first time, every head of the layer counts
  // as complete up to it. No head may fall more than kCapacity tokens behind.
  void keep(size_t layer, size_t token, std::span<const float> x);
  std::span<const float> input(size_t layer, size_t token) const;

  // Leading tokens that the head has; SIZE_MAX where nothing was ever kept.
  size_t n_complete(size_t layer, size_t head) const;
  // The head now has tokens [first, end); it must have had those before.
  void complete(size_t layer, size_t head, size_t first, size_t end);
  // The least of n_complete() over all layers and heads.
  size_t n_complete() const;
  void truncate(size_t n_tokens);

 private:
  struct Layer {
    std::vector<size_t> complete;  // [n_head], or empty
    std::vector<float> inputs;     // [kCapacity, n_in], token at slot token % kCapacity
    size_t n_in = 0;
  };
  std::vector<uint32_t> n_heads_;
  std::vector<Layer> layers_;
};

}  // namespace hunch
