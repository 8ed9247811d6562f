// A whole model as training sees it: from ids to a loss, and back to the gradients of its parameters.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"
#include "train/block.h"

namespace hunch {

// Sequences that are the choices of one question: which of them is right.
struct ChoiceGroup {
  size_t first = 0, n = 0, gold = 0;  // sequences [first, first + n); gold < n
};

// Sequences of equal length and what each token should be followed by.
struct TokenBatch {
  static constexpr int32_t kNoTarget = -1;  // of a token whose prediction does not count
  SequenceShape shape;
  std::vector<int32_t> ids, targets;        // [shape.n_rows()], sequence after sequence
  std::vector<ChoiceGroup> questions = {};  // all sequences, or none: the targets are all that counts

  size_t n_counted() const;
  size_t n_windows() const { return questions.empty() ? shape.n_sequences : questions.size(); }
};

// What a loss thinks of the logits [n, n_vocab] of the batch's rows [first, first + n): the sum over them. With
// `wants_gradient`, the logits become the gradient of that sum. It is asked for one stretch of rows after the other.
using LossOfRows = std::function<double(size_t first, MatView<float> logits, bool wants_gradient)>;

class Network {
 public:
  // `model` outlives this and is not changed. Throws as require_trainable().
  Network(const Model& model, Compute& compute);

  Parameters parameters;

  // Of layers that are not named nothing is trained, and with any unnamed neither embeddings nor the output; before the
  // calls below. Throws Error{kUsage} for a layer that the model does not have, or none.
  void only_layers(std::span<const size_t> layers);
  // Makes all weights of the model parameters; the embedding and an output that is tied to it are one. Throws
  // Error{kUnsupported} naming a matrix that is quantised or shares its tensor with others.
  void train_all();
  // Adds a low-rank adapter to the matrices of these roles in all blocks. Throws Error{kUsage} for a rank of 0, and
  // Error{kUnsupported} as train_all().
  void add_low_rank(const AdapterOptions& options, std::span<const Role> roles, uint64_t seed);
  // Adds IA3's factors: of keys and values, and of what the MLP's down projection reads. Throws as add_low_rank().
  void add_factors();
  // Adds n tokens before every sequence, alone: their embeddings (prompt tuning: Lester et al. 2021, arXiv:2104.08691),
  // at first those of n random words; or (`keys`) their keys and values in every layer (prefix tuning: Li and Liang
  // 2021, arXiv:2101.00190), at first those that the model has of such words. Sequences begin at position n. Throws
  // Error{kUsage} for n of 0, Error{kUnsupported} naming what does not go with them.
  void add_virtual_tokens(size_t n, bool keys, uint64_t seed);
  size_t n_virtual() const { return n_virtual_; }
  Parameter* prompt() const { return prompt_; }  // [n_virtual, n_embd], or none
  // Rounds the matrices of the blocks as they will be written, after train_all(): Projection::round_weights(), and
  // Projection::learn_clipping().
  void round_weights(DType dtype, bool learns_clipping = false);
  // To be called when the gradients of a step are complete.
  void finish_gradients();
  // Of the blocks' matrices, after train_all(): Projection::keep_zeros(), Projection::prune().
  void keep_zeros();
  void prune(double share);
  // Gives the MLPs another function, after train_all(): a ReLU (ReLUfication: Mirzadeh et al. 2023,
  // arXiv:2310.04564).
  void become_relu();
  // From now on, of a model that became one with ReLUs.
  void set_threshold(float threshold);
  // The loss gets `lambda` times the sum over layers of the mean absolute activation of a pass of n_rows tokens. Only
  // gradients know of it.
  void set_l1(double lambda, size_t n_rows);
  bool became_relu() const { return became_relu_; }
  // Of all products but those of the optimisers, from now on. Throws Error{kUnsupported} on processors without them.
  void set_precision(Precision precision);
  // To be called when parameters have changed.
  void refresh();

  // The loss of a batch, forward only.
  double loss(const TokenBatch& batch, const LossOfRows& loss_of);
  // The loss, and its gradients added to those of the parameters. `is_done(layer)` is told which block's gradients are
  // complete, from the last to the first, then Parameter::kNoLayer.
  double backward(const TokenBatch& batch, const LossOfRows& loss_of,
                  const std::function<void(size_t layer)>& is_done = {});
  // The pass alone; then logits of rows [first, first + out.rows) of its batch, out [n, n_vocab].
  void forward(const TokenBatch& batch);
  void logits(size_t first, MatView<float> out);

  const Model& model() const { return model_; }
  Compute& compute() { return compute_; }
  std::vector<std::unique_ptr<TrainedBlock>>& blocks() { return blocks_; }
  Projection& output() { return *output_; }

 private:
  static constexpr size_t kLogitRows = 256;  // that are in memory at a time

  std::string module_name(const Linear& linear) const;
  void require_plain_weights() const;
  void prepare(const TokenBatch& batch, size_t n_streams);
  TrainedBlock::Pass pass_of(const LayerConfig& c) const;
  void begin_prefix(std::span<const int32_t> words);
  size_t n_prompt() const { return prompt_ ? n_virtual_ : 0; }
  size_t stream_row(size_t row) const;
  size_t n_together(size_t first, size_t end) const;
  void embed(const TokenBatch& batch, MatView<float> stream) const;
  void embed_backward(const TokenBatch& batch, MatView<const float> d_stream) const;
  double head(const LossOfRows& loss_of, MatView<float> stream, bool wants_gradient);
  void scaled_logits(MatView<const float> final, MatView<float> out) const;

  const Model& model_;
  Compute& compute_;
  const SoloComputes solo_;
  Precision precision_ = Precision::kF32;
  std::vector<std::unique_ptr<TrainedBlock>> blocks_;
  TrainedNorm output_norm_;
  std::unique_ptr<Projection> output_;
  Parameter *embedding_ = nullptr, *positions_ = nullptr, *prompt_ = nullptr;
  size_t n_virtual_ = 0;  // tokens before every sequence
  bool became_relu_ = false;
  std::vector<bool> trains_layer_;  // [n_layer]
  size_t first_trained() const;     // of the layers; n_layer: none
  Scratch streams_memory_, rotation_memory_;
  SequenceShape shape_;              // of the present batch's sequences with what stands before them
  SequenceShape text_shape_;         // without
  MatView<float> streams_;           // [n_streams * n_rows, n_embd]: what entered each block, one after the other
  std::vector<Rotation> rotations_;  // by rope, of rows of this shape
  SequenceShape rotation_shape_;
};

}  // namespace hunch
