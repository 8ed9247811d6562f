// The forward pass: token ids in, logits out, for any number of sequences at once.
#pragma once
#include <functional>

#include "model/model.h"
#include "model/step.h"
#include "model/step_device.h"

namespace hunch {

class Transformer {
 public:
  // The three must outlive the Transformer, which owns only lists and the memory of its results. One caller at a time.
  Transformer(const Model& model, KvCache& cache, Compute& compute);

  // Appends the runs' tokens to their sequences and returns the logits of `logit_rows`,
  // [n_logit_rows, n_vocab], valid until the next call. Throws Error{kLimit} when the cache is full
  // or a position lies beyond a learned table, Error{kUsage} for ids outside the vocabulary,
  // Error{kInterrupted} when many tokens are stopped; the sequences are then unchanged.
  MatView<const float> run(const StepInput& input);

  // As run(), but only layers [first, end), entered by `stream` [n_tokens, stream_width()] (no data: by the ids'
  // embeddings), and without logits. Throws Error{kUnsupported} where one of them reads the keys of a layer before
  // `first`. Returns the stream that leaves them, valid until the next call. For calibrating a block at a time;
  // `stream` may not be what an earlier call returned.
  MatView<const float> run_blocks(const StepInput& input, size_t first, size_t end, MatView<const float> stream);

  // Has the cache keep what the selectors of keys of these runs' plans do not drop. run() does so after each pass, but
  // for runs that go on: of those it is the caller who says when. Again changes nothing.
  void settle_keys(std::span<const Run> runs);
  // Where the model is divided among ranks, what each of the others counted since this was asked for the last time;
  // none where it is not.
  std::vector<StepStats> take_stats_of_others();

  Observer* observer = nullptr;
  StepStats stats;  // accumulates until the caller clears it

  // From now on steps, from StepDevice::first_layer() on, are computed there; a step that has an observer, or parts of
  // one, throw Error{kUnsupported}.
  void compute_on(std::shared_ptr<StepDevice> device) { device_ = std::move(device); }

  // A cache shape that fits the model.
  static KvShape kv_shape(const ModelConfig& config, KvType type = {}, size_t page_tokens = 32);

 private:
  // Runs work(step); when it throws (a stop, an observer that fails), the tokens are not in the cache.
  template <class Work>
  void in_step(const StepInput& input, const Work& work) {
    check(input);
    append(input);
    const Counted counted(compute_.meter, stats);
    bool told = false;
    try {
      told = tell_ranks(input);
      const Arena::Scope scope(compute_.arena);
      Step step(model_, cache_, compute_, input, observer, stats, memory_);
      work(step);
    } catch (...) {
      if (told) end_unless_agreed();
      forget(input);
      throw;
    }
  }
  // What the meter counts from its beginning to its end goes into the stats.
  class Counted {
   public:
    Counted(const Meter& meter, StepStats& stats);
    ~Counted();

   private:
    const Meter& meter_;
    StepStats& stats_;
    Bytes bytes_;
    RowReads rows_;
  };
  // model/pass.cc
  // Runs that want the bits of a step alone share one only with runs of their kind: a plan decides much for all of its
  // tokens at once. each(part, its first row of logits); all or nothing.
  void for_each_part(const StepInput& input, const std::function<void(const StepInput&, size_t)>& each);
  void check(const StepInput& input) const;
  // Where this is rank 0 of several: the others compute the step too. Whether there are such.
  bool tell_ranks(const StepInput& input) const;
  // In a handler: ends the job of all ranks, which wait for each other, but for a stop on which they agreed.
  void end_unless_agreed() const;
  void append(const StepInput& input);
  void forget(const StepInput& input);
  void run_on_device(const StepInput& input, MatView<float> logits);
  MatView<float> result(size_t rows, size_t cols);
  // model/logits.cc
  void logits(Step& s, MatView<const float> resid, MatView<float> out) const;
  void screened_logits(Step& s, const VocabScreen& screen, Tokens tokens, MatView<const float> final,
                       MatView<float> out) const;
  // model/settle_keys.cc
  void settle_own_keys(std::span<const Run> runs);
  void settle_keys(KvCache::SequenceId sequence, size_t layer, KeyState& state);
  void move_sinks(KvCache::SequenceId sequence, size_t layer, KeyState& state);
  // model/stages.cc
  void run_in_stages(const StepInput& input, MatView<float> out);
  void stage(Step& s, MatView<float> out);
  // model/transformer.cc
  void run_in_parts(const StepInput& input, MatView<float> out);
  void enter(Step& s, MatView<float> stream) const;
  void embed(Step& s, MatView<float> resid) const;
  void layers(Step& s, size_t first, size_t end, MatView<float> resid) const;
  void layer(Step& s, const Layer& l, MatView<float> resid) const;

  const Model& model_;
  KvCache& cache_;
  Compute& compute_;
  StepMemory memory_;
  Scratch result_;  // of the last call
  std::shared_ptr<StepDevice> device_;
};

}  // namespace hunch
