// What the channels that units are made of do on a text: the inputs of W_o and of the down projection, one by one.
#pragma once
#include <vector>

#include "linear/linear.h"
#include "model/observer.h"

namespace hunch {

// Sums over tokens of vectors of one width.
class ChannelStats {
 public:
  // X [n_tokens, n]; the first call says how many channels there are.
  void add(MatView<const float> X);
  bool empty() const { return n_tokens_ == 0; }
  size_t size() const { return sum_.size(); }
  double mean(size_t channel) const { return sum_[channel] / double(n_tokens_); }
  // Of the sample: over n_tokens - 1.
  double variance(size_t channel) const;

 private:
  size_t n_tokens_ = 0;
  std::vector<double> sum_, squares_;
};

// Watches passes of one block.
class UnitObserver : public Observer {
 public:
  ChannelStats heads, neurons;  // before W_o, before the down projection of a dense MLP
  void on_heads(size_t, MatView<const float> attn_out) override { heads.add(attn_out); }
  void on_mlp(const MlpPlace& place, MatView<const float>, MatView<const float> ff_act) override {
    if (place.is_dense()) neurons.add(ff_act);
  }
};

}  // namespace hunch
