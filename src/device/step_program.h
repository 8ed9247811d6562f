// The commands of a step, recorded once for its shape: from ids, or from the stream that the processor's layers left,
// to logits without a word from the host.
#pragma once
#include <functional>

#include "device/device_plan.h"
#include "device/put_adapter.h"
#include "device/step_buffers.h"

namespace hunch {

struct StepShape {
  uint32_t n_tokens = 1, n_logits = 0;
  uint32_t n_best = 0;               // of every row of logits only so many come back, the largest; 0: all
  const DevicePlan* plan = nullptr;  // what leaves parts of one token out; none: everything is computed
  const DeviceAdapter* adapter = nullptr;
  auto operator<=>(const StepShape&) const = default;
};

class StepProgram {
 public:
  // `upload` has the step's inputs as StepBuffers::inputs lays them out and, behind them, the stream of a model whose
  // first layers are the processor's, [n_tokens, resid.stride]; logits [n_logits, logits.stride] come to `download`, or
  // the best of them [n_logits][n_best] with their ids, and behind them, of a step with a plan, how many neurons and
  // heads each layer had. Of layers whose neurons are divided, what the MLP reads comes back behind those [n_tokens,
  // normed.stride], and behind that which cold neurons a predictor chose [1 + n_cold]; what they add is wanted behind
  // the stream [n_tokens, resid.stride]. All outlive this.
  StepProgram(const Model& model, const DeviceWeights& weights, const StepBuffers& buffers, const StepShape& shape,
              std::shared_ptr<vulkan::Gpu> gpu, const vulkan::Piece& upload, const vulkan::Piece& download);

  // `cold` computes a divided layer's part of the processor, while the device computes its own. Throws as Gpu::run(),
  // and what `cold` throws.
  void run(const std::function<void(size_t layer)>& cold);

  // One of the largest logits.
  struct Best {
    uint32_t id;
    float logit;
  };
  // Behind the logits, [n_layer] of these: lengths of lists, of which those mean something that the layer's plan makes.
  struct Counts {
    uint32_t neurons, live, groups;
  };
  static uint64_t counts_at(const StepBuffers& b) {
    return uint64_t(kMostDeviceTokens) * b.logits.stride * sizeof(float);
  }
  static uint64_t normed_at(const StepBuffers& b) { return counts_at(b) + b.pages.size() * sizeof(Counts); }
  static uint64_t chosen_at(const StepBuffers& b) {
    return normed_at(b) + uint64_t(kMostDeviceTokens) * b.normed.stride * sizeof(float);
  }
  static uint64_t download_bytes(const StepBuffers& b) { return chosen_at(b) + b.chosen.bytes; }
  // And in `upload`, behind the inputs: the stream, and what cold neurons add.
  static uint64_t stream_at(const StepBuffers& b) { return b.inputs.bytes; }
  static uint64_t cold_at(const StepBuffers& b) {
    return stream_at(b) + uint64_t(kMostDeviceTokens) * b.resid.stride * sizeof(float);
  }
  static uint64_t upload_bytes(const StepBuffers& b) { return 2 * cold_at(b) - stream_at(b); }

 private:
  void record();
  void attention(const LayerConfig& c, const DeviceLayer& l);
  void mlp(const LayerConfig& c, const DeviceLayer& l);
  void neurons(const LayerConfig& c, const DeviceLayer& l, vulkan::Piece rows);
  // A predictor's scores of normed, in two halves with a barrier between them and after them.
  void begin(const DeviceChoice& choice);
  void end(const DeviceChoice& choice);
  // Which of the scores [first, first + n) are above its threshold.
  void list(const DeviceChoice& choice, size_t first, uint32_t n, const vulkan::Piece& list);
  const DevicePlanLayer& plan_of(size_t layer) const;
  // And what the adapter adds.
  void product(const DeviceLinear& linear, const vulkan::Values& x, const vulkan::Values& y,
               const vulkan::Onto& onto = {}) {
    product(linear, x, y, shape_.n_tokens, onto);
  }
  void product(const DeviceLinear& linear, const vulkan::Values& x, const vulkan::Values& y, uint32_t n_tokens,
               const vulkan::Onto& onto);
  void logits();
  // Of an MLP that is divided: sends the processor its part of the work, and fetches what came of it.
  void send(const DeviceLayer& l, const DevicePlanLayer& plan, size_t layer);
  void fetch(const LayerConfig& c);

  const Model& model_;
  const DeviceWeights& weights_;
  const StepBuffers& b_;
  const StepShape shape_;
  const vulkan::Piece upload_, download_;
  std::vector<size_t> divided_;  // layers whose neurons are divided: each cuts the commands twice
  vulkan::Commands commands_;
  vulkan::Kernels kernels_;
};

}  // namespace hunch
