#include "compress/block_walk.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace hunch {

BlockWalk::BlockWalk(const Engine& engine, std::span<const int32_t> ids, const BlockSample& sample)
    : engine_(engine),
      n_window_(std::min({sample.n_window, engine.config().n_ctx_train, ids.size()})),
      n_windows_(n_window_ ? std::max<size_t>(1, std::min(sample.n_tokens, ids.size()) / n_window_) : 0),
      cache_(Transformer::kv_shape(engine.config()), n_window_),
      transformer_(*engine.model, cache_, *engine.compute) {
  if (n_window_ < 2) fail(ErrorKind::kUsage, "a sample of {} tokens is too short", ids.size());
  for (size_t w = 0; w < n_windows_; ++w) {
    const size_t first = n_windows_ == 1 ? 0 : (ids.size() - n_window_) * w / (n_windows_ - 1);
    sample_.insert(sample_.end(), ids.begin() + ptrdiff_t(first), ids.begin() + ptrdiff_t(first + n_window_));
  }
  for (const LayerConfig& l : engine.config().layers)
    if (l.borrows_keys())
      fail(
          ErrorKind::kUnsupported,
          "layer {} reads the keys of layer {}, so that it cannot be calibrated by itself: this method does not run on "
          "this model",
          l.index, l.keys_from);
  stream_.resize(sample_.size() * engine.config().stream_width());
  left_ = stream_;
}

MatView<float> BlockWalk::rows_of(std::vector<float>& values, size_t window) {
  const size_t width = engine_.config().stream_width();
  return {&values[window * n_window_ * width], n_window_, width};
}

MatView<const float> BlockWalk::pass(size_t window, size_t first, const Run& run) {
  const StepInput input{std::span(sample_).subspan(window * n_window_ + first, run.n_tokens), {&run, 1}, {}};
  return transformer_.run_blocks(input, layer_, layer_ + 1, entering(window).row_range(first, run.n_tokens));
}

void BlockWalk::embed(size_t window) {
  const Sequence sequence(*this);
  const Run run{sequence.id, n_window_};
  const StepInput input{std::span(sample_).subspan(window * n_window_, n_window_), {&run, 1}, {}};
  const MatView<const float> out = transformer_.run_blocks(input, 0, 0, {});
  for (size_t t = 0; t < n_window_; ++t) std::ranges::copy(out.row(t), entering(window).row(t).begin());
}

void BlockWalk::next() {
  if (begun_) {
    ++layer_;
    std::swap(stream_, left_);
  } else {
    for (size_t w = 0; w < n_windows_; ++w) embed(w);
    begun_ = true;
  }
  HUNCH_CHECK(layer_ < engine_.config().n_layer, "no layer {}", layer_);
}

void BlockWalk::go_on_behind(size_t layer, std::span<const float> left) {
  HUNCH_CHECK(left.size() == left_.size());
  layer_ = layer;
  begun_ = true;
  std::ranges::copy(left, left_.begin());
}

void BlockWalk::compute(Observer* observer) {
  transformer_.observer = observer;
  for (size_t w = 0; w < n_windows_; ++w) {
    engine_.compute->throw_if_stopped();
    const Sequence sequence(*this);
    const MatView<const float> out = pass(w, 0, {sequence.id, n_window_});
    for (size_t t = 0; t < n_window_; ++t) {
      const auto finite = [](float v) { return std::isfinite(v); };
      if (!std::ranges::all_of(out.row(t), finite))
        fail(ErrorKind::kFormat,
             "layer {}, token {} of the sample: an activation is not finite; is the model file damaged?", layer_,
             w * n_window_ + t);
      std::ranges::copy(out.row(t), leaving(w).row(t).begin());
    }
  }
  transformer_.observer = nullptr;
}

void BlockWalk::watch(std::span<const size_t> windows, Observer& observer) {
  transformer_.observer = &observer;
  for (size_t w : windows) {
    engine_.compute->throw_if_stopped();
    const Sequence sequence(*this);
    pass(w, 0, {sequence.id, n_window_});
  }
  transformer_.observer = nullptr;
}

}  // namespace hunch
