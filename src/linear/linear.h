// A matrix as what can be asked of it. Whoever stores it differently is another form: one class each.
#pragma once
#include <compare>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/compute.h"
#include "base/rows.h"
#include "formats/weight_view.h"

namespace hunch {

class Adapter;   // linear/adapter.h
class Stored;    // linear/stored.h
struct Product;  // linear/together.h

// What a matrix does in its layer.
enum class Role : uint8_t {
  kQuery,
  kKey,
  kValue,
  kHeads /* W_o */,
  kGate,
  kUp,
  kDown,
  kRouter,
  kSharedGate,
  kEmbedding /* of the ids: looked up, not multiplied */,
  kWordsIn,
  kWordsOut,
  kLogits,
  kQueryDown /* of queries of low rank: to the rank */,
  kQueryUp,
  kLatent,       // what keys and values of all heads are made of
  kLatentKey,    // `expert` is the head
  kLatentValue,  // `expert` is the head
  kStateIn,      // what a recurrent layer's state is fed
  kStateGate,
  kStateBeta,
  kStateAlpha,
  kStateOut,
  kPerLayer,  // of the whole model: from the embedding to what every layer gets (model/per_layer_embedding.h)
  kPerLayerGate,
  kPerLayerOut,
  kStreamIn,   // `expert` is the stream (model/alt_up.h)
  kStreamOut,  // `expert` is the stream
  kLaurelLeft,
  kLaurelRight,
  kExpertsIn,  // from the stream to what a mixture's experts read, where that is less, and back
  kExpertsOut
};
constexpr size_t kNumRoles = 32;
const char* name_of(Role role);  // "q", "k", "v", "o", "gate", "up", "down", "router", ...

// Which matrix of a model: the same in files, messages, hooks and adapters.
struct LinearId {
  static constexpr uint32_t kNone = UINT32_MAX;        // no layer: of the whole model; no expert: the layer's own
  static constexpr uint32_t kShared = UINT32_MAX - 1;  // the shared expert
  uint32_t layer = kNone;
  Role role = Role::kQuery;
  uint32_t expert = kNone;
  auto operator<=>(const LinearId&) const = default;
};

// What a product must know of a token besides its values: how its run wants it computed.
struct TokenTraits {
  bool as_alone = false;             // the bits of a product with this token alone
  const Adapter* adapter = nullptr;  // what is added to the model's own weights; none
  bool operator==(const TokenTraits&) const = default;
};
using Tokens = std::span<const TokenTraits>;  // [n_tokens]

// Of a matrix: its outputs or its inputs.
enum class Axis : uint8_t { kOut, kIn };

// Immutable but for its layouts: any number of threads may ask, each with a Compute of its own.
class Linear {
 public:
  Linear(LinearId id, size_t n_in, size_t n_out) : id(id), n_in(n_in), n_out(n_out) {}
  virtual ~Linear() = default;
  Linear(const Linear&) = delete;
  Linear& operator=(const Linear&) = delete;

  const LinearId id;
  const size_t n_in, n_out;

  // Y[t, r] = W[r, :] . X[t, :] + bias[r] for the rows r that token t wants, 0 for the others.
  //
  //   tokens [n_tokens]   X [n_tokens, n_in]   out of n_out / unit rows   Y [n_tokens, n_out], written; may not overlap
  //   X
  virtual void dot(Compute& compute, Tokens tokens, MatView<const float> X, RowSet out, MatView<float> Y) const = 0;

  // Y[t, :] = bias + sum of A[t, i] * W[:, i] over the inputs i that token t has; A is not read elsewhere.
  //
  //   A [n_tokens, n_in]   in of n_in / unit rows   Y [n_tokens, n_out], written; may not overlap A
  virtual void add(Compute& compute, Tokens tokens, MatView<const float> A, RowSet in, MatView<float> Y) const = 0;

  // Whether add() reads less of W where inputs, in groups of `unit`, are left out. Otherwise it reads all of it.
  virtual bool reads_less_by_input(size_t unit) const = 0;
  // Bytes that a product over everything reads.
  virtual size_t bytes() const = 0;

  // dot() with all rows of several matrices of this form, this one among them: for forms that can share work on X.
  virtual void dot_beside(Compute& compute, Tokens tokens, MatView<const float> X,
                          std::span<const Product> of_this_form) const;

  // For whoever learns from the weights: W [n_out, n_in] in f32, whatever the form (but a copy of some rows). Never in
  // a step.
  virtual void decode(Compute& compute, MatView<float> W) const;
  // What this form made of another matrix that it was rounded, factored or thinned out from ("ternary", "of low rank",
  // ...): who compresses wants that one. "": nothing, these are the weights.
  virtual std::string_view made_into() const { return {}; }
  // W [n_out, n_in] or its transpose [n_in, n_out], as they are stored; at least one of them, where the form has such a
  // matrix at all. Decoding rows is up to the caller.
  virtual WeightView rows() const { return {}; }
  virtual WeightView by_input() const { return {}; }
  virtual std::span<const float> bias() const { return {}; }
  // The same W, where the products of these tokens are its own, and perhaps something that finish() adds: such products
  // can share one loop (linear/together.h). None: ask dot().
  virtual WeightView plain(Tokens tokens) const { return {}; }
  // Rows [first_row, first_row + Y.cols) of a product.
  struct Part {
    size_t first_row;
    MatView<float> Y;  // [n_tokens, n]
  };
  // Completes parts of the products of plain()'s W, with the bias, and X [n_tokens, n_in].
  virtual void finish(Compute& compute, Tokens tokens, MatView<const float> X, std::span<const Part> parts) const {}

  // The matrix that has this one's outputs, or its inputs: the one to copy, turn or measure for who leaves some out.
  // Itself, but for a product of two, W = factor(kOut) factor(kIn), and for a form that only adds to another.
  virtual const Linear& factor(Axis axis) const { return *this; }
  Linear& factor(Axis axis) { return const_cast<Linear&>(static_cast<const Linear&>(*this).factor(axis)); }
  // Rows in a format's blocks, of which Layouts can make copies; nullptr: this form lies as it needs to.
  virtual Stored* stored() { return nullptr; }
};

}  // namespace hunch
