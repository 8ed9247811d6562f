// The last hidden state.
#include "hunch/embed.h"

#include <algorithm>
#include <cmath>

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "model/observer.h"
#include "model/ops.h"

namespace hunch {
namespace {

// Copies the stream that leaves the last layer, while it lives.
class StreamCopy : public Observer {
 public:
  StreamCopy(Context& context, size_t n_layer, std::vector<float>& out)
      : context_(context), n_layer_(n_layer), out_(out) {
    context_.set_observer(this);
  }
  ~StreamCopy() override { context_.set_observer(nullptr); }
  void on_residual(size_t layer, MatView<const float> resid) override {
    if (layer != n_layer_) return;
    for (size_t t = 0; t < resid.rows; ++t) {
      const std::span<const float> row = resid.row(t);
      out_.insert(out_.end(), row.begin(), row.end());
    }
  }

 private:
  Context& context_;
  size_t n_layer_;
  std::vector<float>& out_;
};

void scale_to_length_1(std::span<float> x) {
  double squares = 0;
  for (const float v : x) squares += double(v) * v;
  if (squares == 0) return;
  const float factor = float(1 / std::sqrt(squares));
  for (float& v : x) v *= factor;
}

}  // namespace

HiddenStates hidden_states(LanguageModel& model, std::span<const int32_t> ids, const HiddenStateOptions& options) {
  ModelImpl& impl = *impl_of(model);
  Compute& compute = *impl.engine.compute;
  const ModelConfig& c = impl.engine.config();
  const StopScope scope(compute, stop_of(options.cancel));
  HiddenStates out;
  out.n_tokens = ids.size();
  out.n_embd = c.n_embd;
  out.values.reserve(ids.size() * c.n_embd);
  // A prompt is read by the whole model whatever the plan, but not whatever the policies.
  Context& context = impl.fresh({.kv_policy = "", .experts = "", .adapters = options.adapters}).context();
  {
    const StreamCopy copy(context, c.n_layer, out.values);
    context.append(ids);
  }
  const MatView<float> values{out.values.data(), out.n_tokens, out.n_embd};
  if (c.final_norm) norm_rows(compute, c.norm, c.norm_eps, values, impl.engine.model->weights().output_norm, values);
  return out;
}

std::vector<float> embed(LanguageModel& model, std::string_view text, const EmbeddingOptions& options) {
  const HiddenStates states =
      hidden_states(model, model.tokenize(text), {.adapters = options.adapters, .cancel = options.cancel});
  const std::span<const float> last = states.row(states.n_tokens - 1);
  std::vector<float> out(last.begin(), last.end());
  if (options.pooling == Pooling::kMean) {
    for (size_t i = 0; i < out.size(); ++i) {
      double sum = 0;
      for (size_t t = 0; t < states.n_tokens; ++t) sum += states.row(t)[i];
      out[i] = float(sum / double(states.n_tokens));
    }
  }
  if (options.normalize) scale_to_length_1(out);
  return out;
}

}  // namespace hunch
