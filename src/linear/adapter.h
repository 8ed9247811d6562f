// What is added to a model's matrices for the tokens of some runs: LoRA (Hu et al. 2021, arXiv:2106.09685), rsLoRA
// (Kalajdzievski 2023, arXiv:2312.03732) and DoRA (Liu et al. 2024, arXiv:2402.09353) in one form, or several of them
// added up.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "linear/layouts.h"

namespace hunch {

// Of one matrix: W x + b becomes (1 + gain) * (W x) + b + B (A x), by rows.
class AdapterPart {
 public:
  // Copies. Rank 0: nothing is added.
  //
  //   A [rank, n_in]   B_by_rank [rank, n_out], the scale in it   gain [n_out], DoRA's; empty: zeros
  AdapterPart(MatView<const float> A, MatView<const float> B_by_rank, std::vector<float> gain);

  size_t rank() const { return A.rows; }
  size_t bytes() const { return memory_.size() + gain.size() * sizeof(float) + (saved_ ? saved_->memory.size() : 0); }

  // Makes row r of the model's W, w [n_in], row r of the sum; or its column i, w [n_out], as models by neuron keep it.
  void fold_row(size_t r, std::span<float> w) const;
  void fold_column(size_t i, std::span<float> w) const;

  // Puts a matrix that was saved whole in W's place: W [n_out, n_in], bias [n_out] or empty; copies.
  void replace(LinearId id, MatView<const float> W, std::span<const float> bias);
  // That one, or nullptr.
  const Linear* replacement() const { return saved_ ? &*saved_->linear : nullptr; }

  WeightView A;           // [rank, n_in]
  WeightView A_by_input;  // [n_in, rank], for tokens that have only some inputs
  WeightView B;           // [n_out, rank]
  std::vector<float> gain;

 private:
  struct Saved {
    AlignedBuffer memory;
    Layouts layouts;  // copies of the model's own matrix are none of this one
    std::unique_ptr<Stored> linear;
  };
  AlignedBuffer memory_;
  std::unique_ptr<Saved> saved_;
};

// Tokens before every text, in the model's own order of rows.
struct VirtualTokenValues {
  struct KeysAndValues {
    std::vector<float> K, V;  // [n, n_kv_head * d_head]; keys as they are attended to
  };
  size_t n = 0;                       // 0: none
  std::vector<float> embeddings;      // [n, n_embd]; or
  std::vector<KeysAndValues> layers;  // [n_layer]

  std::span<const float> embedding(size_t i) const {
    return std::span(embeddings).subspan(i * embeddings.size() / n, embeddings.size() / n);
  }
};

// One loaded adapter, or several that are used together, for one model. Immutable once it is used; runs refer to it,
// and whoever keeps copies of its matrices asks whether it is still there.
class Adapter : public std::enable_shared_from_this<Adapter> {
 public:
  explicit Adapter(std::string name) : name(std::move(name)) {}

  const std::string name;  // for people
  // Parts by matrix; what is not there stays as it is.
  std::map<LinearId, AdapterPart> parts;
  VirtualTokenValues virtual_tokens;

  const AdapterPart* find(LinearId id) const {
    const auto it = parts.find(id);
    return it == parts.end() ? nullptr : &it->second;
  }
  // Makes the embedding y [n_embd_word] of token `id` what it is with this adapter.
  void embed(size_t id, std::span<float> y) const;
  size_t bytes() const;
};

}  // namespace hunch
