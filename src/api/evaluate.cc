// Logits and perplexity of a text.
#include "hunch/evaluate.h"

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "measure/perplexity.h"

namespace hunch {

Logits logits(LanguageModel& model, std::span<const int32_t> ids, const LogitsOptions& options) {
  ModelImpl& impl = *impl_of(model);
  if (ids.empty()) fail(ErrorKind::kUsage, "a text without tokens, expected at least one");
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  Logits out{ids.size(), impl.engine.config().n_vocab, {}};
  out.values.resize(out.n_tokens * out.n_vocab);
  impl.fresh_for_values(choice_of(options)).append_all(ids, [&](size_t first, MatView<const float> rows) {
    std::copy_n(rows.data, rows.rows * rows.cols, out.values.begin() + ptrdiff_t(first * out.n_vocab));
  });
  return out;
}

TextPerplexity perplexity(LanguageModel& model, std::string_view text, const TextPerplexityOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  const std::vector<int32_t> ids = model.tokenize(text);
  WindowOptions windows;
  windows.n_ctx = options.n_ctx;
  windows.stride = options.stride;
  windows.max_tokens = options.max_tokens;
  const Perplexity p = perplexity(impl.engine, impl.options_for_values(choice_of(options)), ids, windows);
  TextPerplexity out;
  out.perplexity = p.perplexity;
  out.nll = p.nll;
  out.n_tokens = p.n_tokens;
  return out;
}

}  // namespace hunch
