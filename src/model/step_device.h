// Who computes steps, or the last layers of them, elsewhere than on the processor: a card. Model code knows these two
// words of it.
#pragma once
#include <memory>
#include <string>

#include "base/view.h"
#include "model/run.h"
#include "model/step_stats.h"

namespace hunch {

// The steps of one cache's sequences, whose keys and values lie with the device. One caller at a time.
class StepDevice {
 public:
  virtual ~StepDevice() = default;

  // Throws Error{kUnsupported} naming the first thing that the runs ask for and the device does not compute.
  virtual void require(const StepInput& input) const = 0;
  // Layers before this one are the processor's.
  virtual size_t first_layer() const = 0;
  // Computes the step from there on, whose tokens the cache has room for by now, and counts what it read.
  //   stream [n_tokens, n_embd], what enters first_layer(); of 0: none, the device has the embeddings
  //   logits [input.logit_rows.size(), n_vocab], written
  // Throws Error{kIo} where the device failed, Error{kInterrupted} when many tokens are stopped.
  virtual void run(const StepInput& input, MatView<const float> stream, MatView<float> logits, StepStats& stats) = 0;
};

// A model's weights on a device: shared by all who compute with it there.
class ModelDevice {
 public:
  virtual ~ModelDevice() = default;

  // The steps of this cache, made when first asked for. Throws Error{kMemory} where the device has no room for its keys
  // and values, Error{kUnsupported} for a type of cache that it does not have.
  virtual std::shared_ptr<StepDevice> steps(const std::shared_ptr<KvCache>& cache) = 0;
  virtual size_t first_layer() const = 0;  // StepDevice::first_layer()
  virtual std::string name() const = 0;    // for people: "vulkan:0 (NVIDIA ...)"
  // What reading its memory in order gives, measured when first asked for: the yardstick of its speed.
  virtual double read_gb_per_s() = 0;
};

}  // namespace hunch
