// What a model has to compute and read for its tokens, by part of a layer: counted from the matrices and layers as they
// were loaded, nothing run. The roofline (Williams et al. 2009, "Roofline: An Insightful Visual Performance Model")
// then says which of a machine's two limits a part meets first.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "formats/kv_type.h"
#include "model/model.h"

namespace hunch {

// Floating-point operations, of which a multiplication and an addition are two, and bytes that are read.
struct Work {
  double flops = 0, bytes = 0;

  double intensity() const { return bytes > 0 ? flops / bytes : 0; }  // flops per byte
  Work& operator+=(const Work& other) {
    flops += other.flops, bytes += other.bytes;
    return *this;
  }
};

// Matrices that are read together. Of a product of two, both factors count; a pruned matrix that is held without its
// zeros is multiplied as a whole one, and has fewer bytes.
struct MatrixWork {
  uint64_t weights = 0, bytes = 0;  // as they are held

  void add(const Linear& linear);
  bool operator==(const MatrixWork&) const = default;
};

// What attention reads of the cache for each key that a query sees.
struct KeyWork {
  size_t n_rows = 0, width = 0;  // rows of so many numbers: keys and values of each key head; n_rows 0: no attention
  size_t n_head = 0, width_dot = 0, width_sum = 0;  // of each query head: products with a key, and with a value
  bool stores = false;                              // a token leaves as many rows in the cache; else others' are read
  size_t window = 0;                                // tokens; 0: all
  bool causal = true;

  bool operator==(const KeyWork&) const = default;
};

// A recurrence's state, of one sequence.
struct StateWork {
  uint64_t values = 0, flops = 0;  // f32 numbers, read and written by a step; operations of a token
  uint64_t inputs = 0;             // f32 numbers of a token that the cache keeps for a while

  bool operator==(const StateWork&) const = default;
};

struct LayerWork {
  std::string mixer, mlp;           // for people: "attention", "mlp", "8 of 64 experts"
  MatrixWork mixing, shared;        // of the mixer; of the MLP, the router, shared experts and what stands beside
  MatrixWork expert;                // all routed experts together
  size_t n_expert = 0, n_used = 0;  // routed ones, and how many of them a token takes
  KeyWork keys;
  StateWork state;

  uint64_t weights() const { return mixing.weights + shared.weights + expert.weights; }
  uint64_t bytes() const { return mixing.bytes + shared.bytes + expert.bytes; }
  bool operator==(const LayerWork&) const = default;
};

struct Workload {
  std::vector<LayerWork> layers;
  MatrixWork around;             // matrices outside the layers, of every token
  MatrixWork words_out, logits;  // of tokens whose logits are wanted: before the logits' matrix, and that
  MatrixWork embedding;          // tables of which a token reads a row
  size_t lookup_bytes = 0;       // that row
  bool tied = false;             // the embedding is the logits' matrix too
  uint64_t other_weights = 0;    // norms, biases, positions and the like, held in f32; they are not counted as read
};

// Throws Error{kUnsupported} for relative positions (Transformer-XL), whose reads are not counted.
Workload workload_of(const Model& model);

// What is computed at once.
struct Pass {
  size_t n_sequences = 1, n_tokens = 1;  // new tokens of each
  size_t n_before = 0;                   // tokens of each that are in the cache
  size_t n_logits = 1;                   // tokens of each whose logits are wanted
  KvType kv;

  size_t tokens() const { return n_sequences * n_tokens; }
};

enum class Part : uint8_t { kMixing, kKeys, kState, kMlp, kExperts };
constexpr size_t kNumParts = 5;
const char* name_of(Part part);

// Of a layer and one part. Matrices are read once in a pass. Of n experts, of which a token takes k, N tokens read
// n (1 - (1 - k / n)^N) in the mean, if a router prefers none. A sequence's keys are read once in a pass, as the meter
// counts them.
Work work_of(const LayerWork& layer, Part part, const Pass& pass);
Work work_of(const LayerWork& layer, const Pass& pass);
Work ends_of(const Workload& model, const Pass& pass);  // all but the layers
Work work_of(const Workload& model, const Pass& pass);

struct Roofline {
  double flops_per_s = 0, bytes_per_s = 0;

  double ridge() const { return flops_per_s / bytes_per_s; }  // flops per byte from which on computing is the limit
  bool computes(const Work& work) const { return work.intensity() >= ridge(); }
  double seconds(const Work& work) const;  // at least: the longer of the two
};
// The sum of the parts' times, none of which overlap.
double seconds_of(const Workload& model, const Pass& pass, const Roofline& machine);

// The fewest sequences whose decoding step is bound by computing: of one part, or of all together; none where no number
// is (every sequence brings keys of its own). `pass.n_sequences` is not asked.
std::optional<size_t> turning_batch(const LayerWork& layer, Part part, Pass pass, const Roofline& machine);
std::optional<size_t> turning_batch(const Workload& model, Pass pass, const Roofline& machine);

// The fewest tokens in the cache at which a decoding step reads more of the cache than of the weights, and those of a
// prompt at which attention has more operations than the matrices of the layers. None up to 2^30: windows, or no
// attention.
std::optional<size_t> keys_outweigh_weights(const Workload& model, KvType kv);
std::optional<size_t> attention_outweighs_matrices(const Workload& model);

}  // namespace hunch
