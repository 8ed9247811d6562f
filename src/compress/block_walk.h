// A sample of text on its way through a model, one block at a time.
#pragma once
#include <span>
#include <vector>

#include "engine/generate.h"

namespace hunch {

struct BlockSample {
  size_t n_tokens = 512;  // in windows spread evenly over the text
  size_t n_window = 128;  // tokens that see each other
};

// Holds what enters one block and what leaves it; whoever changes the block in between decides what the next one sees.
class BlockWalk {
 public:
  // `engine` must outlive it. Throws Error{kMemory} as KvCache, Error{kUsage} for a text shorter than a window.
  BlockWalk(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample);

  // To the next block, which is entered by what compute() last made; the first call to the first block.
  void next();
  // Computes the block densely for all windows. Throws Error{kFormat} naming layer and token where a value is not
  // finite, Error{kInterrupted}.
  void compute(Observer* observer = nullptr);
  // Computes the block as it is now for some windows, for who watches; what leaves it is not kept.
  void watch(std::span<const size_t> windows, Observer& observer);

  // As if compute() had last made `left` [n_tokens, n_embd] of this layer.
  void go_on_behind(size_t layer, std::span<const float> left);
  std::span<const float> left() const { return left_; }  // of all windows

  size_t layer() const { return layer_; }
  size_t n_windows() const { return n_windows_; }
  size_t n_window() const { return n_window_; }
  size_t n_tokens() const { return sample_.size(); }  // of all windows
  // Of one window, [n_window, stream_width()].
  MatView<float> entering(size_t window) { return rows_of(stream_, window); }
  MatView<float> leaving(size_t window) { return rows_of(left_, window); }

  // One in the cache, until the end of the scope.
  struct Sequence {
    explicit Sequence(BlockWalk& walk) : cache(walk.cache_), id(cache.create()) {}
    ~Sequence() { cache.release(id); }
    Sequence(const Sequence&) = delete;
    Sequence& operator=(const Sequence&) = delete;
    KvCache& cache;
    const KvCache::SequenceId id;
  };
  // The block on a window's tokens [first, first + run.n_tokens); the view lives until the next call.
  MatView<const float> pass(size_t window, size_t first, const Run& run);

 private:
  MatView<float> rows_of(std::vector<float>& values, size_t window);
  void embed(size_t window);

  const Engine& engine_;
  size_t n_window_, n_windows_, layer_ = 0;
  bool begun_ = false;
  std::vector<int32_t> sample_;
  KvCache cache_;
  Transformer transformer_;
  std::vector<float> stream_, left_;  // [n_windows * n_window, stream_width()]
};

}  // namespace hunch
