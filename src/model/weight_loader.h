// From a file's tensors to a model's layers. Internal to model/weights.h.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/low_rank_names.h"
#include "io/ordered_tensors.h"
#include "io/rotated_tensors.h"
#include "io/sparse_tensors.h"
#include "model/bundles.h"
#include "model/shard.h"
#include "model/weights.h"

namespace hunch {

// Of matrices of a file whose columns meet their inputs in another order, or rotated; by NAME.weight.
struct InputForms {
  InputOrders orders;
  RotatedNames rotated;
  bool has(const std::string& name) const { return orders.contains(name) || rotated.contains(name); }
};

// Finds every tensor by its GGUF name and checks its shape. Used once. Throws as load_weights().
class WeightLoader {
 public:
  // `file` is one of which `forms` were taken (take_input_orders(), take_rotated()).
  WeightLoader(const ModelFile& file, const ModelConfig& config, const WeightOptions& options, Compute& compute,
               InputForms forms = {});
  ModelWeights load();  // once

 private:
  // model/weight_tensors.cc: tensors as matrices and vectors
  void check_dims(const Tensor& t, const std::vector<uint64_t>& expected);
  void check_shape(const Tensor& t, const std::vector<uint64_t>& expected);
  WeightView matrix(const std::string& name, size_t rows, size_t cols);
  // The same of one that stored() takes: also codes of int8 (io/int8_tensor.h).
  void check_weights(const Tensor& t, const std::vector<uint64_t>& expected);
  WeightView weights(const std::string& name, size_t rows, size_t cols);
  Vector vector(const std::string& name, size_t n);
  Vector optional_vector(const std::string& name, size_t n) { return file_.find(name) ? vector(name, n) : Vector(); }
  NormWeights norm(const std::string& name, size_t n, bool required);
  static TensorRows tensor(const std::string& name, size_t first = 0) { return {name, name, first}; }
  std::unique_ptr<Linear> stored(LinearId id, TensorRows where, WeightView W, Vector bias = {});
  std::unique_ptr<Linear> int8(LinearId id, const TensorRows& where, WeightView W, Vector bias);
  // As one tensor, as two factors, or without its zeros.
  bool has(const std::string& name) const {
    return file_.find(name + ".weight") || file_.find(low_rank_u(name)) || has_sparse(file_, name);
  }
  // The factors of a matrix, or those of a layer's experts one after the other.
  struct Factors {
    WeightView U, V;  // [n * n_out, rank], [n * rank, n_in]
    size_t rank;
  };
  Factors factors(const std::string& name, std::vector<uint64_t> outer, size_t n_out, size_t n_in);
  std::unique_ptr<Linear> low_rank(LinearId id, const std::string& name, const WeightView& U, const WeightView& V,
                                   Vector bias = {});
  // None where the file has none and none is required.
  std::unique_ptr<Linear> linear(LinearId id, const std::string& name, size_t rows, size_t cols, bool required);
  // Without its zeros (io/sparse_tensors.h); the matrix or those of all experts, of this shape.
  SparseTensor sparse_tensor(const std::string& name, const std::vector<uint64_t>& shape);
  std::unique_ptr<Linear> sparse(LinearId id, const SparseTensor& tensor, size_t first, size_t n_out, Vector bias);
  // -1, 0 and 1, in whatever type, and one number beside them.
  std::unique_ptr<Linear> ternary(LinearId id, const std::string& name, size_t rows, size_t cols);

  // model/weights.cc: what stands around the blocks
  // Vaswani et al. 2017, section 3.5, in the halves layout of fairseq: sines first, then cosines;
  // frequencies 10000^(-i / (half - 1)).
  Vector sinusoidal();
  void rank_head();
  void per_layer_embedding();
  void layer(size_t i);
  std::vector<std::unique_ptr<Linear>> by_stream(Role role, const std::string& name);
  void streams_of_layer(const std::string& blk, Layer& l);
  void norms_beside(const std::string& blk, BesideNorms& norms);
  // A matrix of every head, from the tensor that holds them all.
  std::vector<std::unique_ptr<Linear>> by_head(LinearId id, const std::string& name, size_t n, size_t rows,
                                               size_t cols);

  // model/weights_mixers.cc
  void latent_attention(const std::string& blk, const LayerConfig& c, Attention& a);
  void mixer(const std::string& blk, Layer& l);
  // A convolution's weights, a row per tap: files have one per channel.
  Vector taps(const std::string& name, const RecurrentConfig& r);
  void short_conv(const std::string& name, const LayerConfig& c, ShortConv& m);
  void mamba2(const std::string& blk, const LayerConfig& c, Mamba2& m);
  void delta_net(const std::string& blk, const LayerConfig& c, DeltaNet& m);
  void attention(const std::string& blk, const LayerConfig& c, Attention& a);

  // model/weights_mlp.cc
  // Rows that a ReLU leaves at zero can be skipped if the down projection is stored neuron-major.
  void arrange_down(const LayerConfig& c, Linear& whole);
  // `suffix`: of an expert's tensors.
  Mlp mlp(const LayerConfig& c, uint32_t expert, const std::string& name, const std::string& suffix, size_t n_ff);
  // One matrix of every expert, from the tensor that holds them all.
  void stack(LinearId id, const std::string& name, size_t rows, size_t cols, std::vector<Mlp>& experts,
             std::unique_ptr<Linear> Mlp::*matrix);
  // Written neuron-major by hunch: [n_expert, n_ff, n_embd].
  void turned_downs(const LayerConfig& c, const std::string& name, const std::string& as_rows,
                    std::vector<Mlp>& experts);
  // Gates and then ups of every expert in one tensor, [n_expert, 2 n_ff, n_embd].
  void stack_of_both(uint32_t layer, const std::string& name, const LayerConfig& c, std::vector<Mlp>& experts);
  void mapped_experts(const std::string& blk, const LayerConfig& c, std::vector<Mlp>& experts);
  void experts(const std::string& blk, const LayerConfig& c, Experts& e);

  // model/weights_on_demand.cc: those of a model that is larger than memory
  // Decides what is read on demand, and has w_.disk where something is.
  void plan_disk();
  // Once all are loaded: what the others leave is the disk's.
  void divide_memory();
  struct Stretch;  // of a file
  std::optional<Stretch> stretch(const std::string& name, size_t first_row, size_t n_rows, size_t n_cols);
  // The MLP if it is read on demand. `first`: of which matrix of the tensor, where they are stacked.
  std::optional<Mlp> mlp_on_demand(const LayerConfig& c, uint32_t expert, const std::string& name,
                                   const std::string& suffix, size_t n_ff, size_t width);
  bool experts_on_demand(const std::string& blk, const LayerConfig& c, Experts& e);

  // model/weights_shard.cc: a rank's part, where the model is divided
  void divide();
  // For forms that are not divided, where this one would be.
  void require_whole(LinearId id, const std::string& tensor, const char* form) const;
  // The part of a matrix that is the rank's, and of its bias; of one that stands neuron-major in the file.
  void cut(LinearId id, const std::string& tensor, WeightView& W, Vector& bias) const;
  void cut_by_neuron(LinearId id, WeightView& by_input, Vector& bias) const;
  void cut_heads(const LayerConfig& c, Attention& a) const;
  void gather_words();

  const ModelFile& file_;
  const ModelConfig& c_;  // of the whole model
  const WeightOptions& options_;
  Compute& compute_;
  const InputForms forms_;
  const Shard shard_;  // of tensors
  Range layers_;       // that this rank has
  ModelWeights w_;
  std::vector<Layouts::TurnRequest> turns_;  // once all are loaded
  std::optional<Bundles> bundles_;           // neurons in one piece each, where w_.disk reads them
};

}  // namespace hunch
