#include "measure/continuation_scorer.h"

#include <algorithm>

#include "base/error.h"
#include "engine/sampler.h"
#include "jinja/unicode.h"
#include "kernels/ops.h"

namespace hunch {

EncodedPair encode_pair(const Tokenizer& tokenizer, const std::string& before, const std::string& continuation) {
  const std::string whole = before + continuation, context(jinja::strip(before, false));
  const EncodeOptions plain{false, false};
  EncodedPair out{tokenizer.encode(whole, plain), 0};
  out.n_before = std::min(tokenizer.encode(context, plain).size(), out.ids.empty() ? 0 : out.ids.size() - 1);
  if (out.n_before == 0) {  // nothing to predict the first token from: the harness puts end-of-text there
    const auto& spec = tokenizer.spec();
    out.ids.insert(out.ids.begin(), spec.bos.value_or(spec.eos.value_or(0)));
    out.n_before = 1;
  }
  return out;
}

ContextOptions task_context(const Engine& engine, ContextOptions options) {
  if (options.n_ctx == 0) options.n_ctx = std::min<size_t>(engine.config().n_ctx_train, 2048);
  return options;
}

size_t n_common(std::span<const int32_t> a, std::span<const int32_t> b, size_t most) {
  size_t n = 0;
  while (n < std::min({a.size(), b.size(), most}) && a[n] == b[n]) ++n;
  return n;
}

ContinuationScorer::ContinuationScorer(const Engine& engine, const ContextOptions& options)
    : engine_(engine), context_(engine, task_context(engine, options)) {}

ContinuationScore ContinuationScorer::score(const std::string& before, const std::string& continuation) {
  EncodedPair text = encode_pair(engine_.need_tokenizer(), before, continuation);
  return score(std::move(text.ids), text.n_before);
}

ContinuationScore ContinuationScorer::score(std::vector<int32_t> ids, size_t n_before) {
  HUNCH_CHECK(n_before > 0);
  if (n_before >= ids.size()) fail(ErrorKind::kUsage, "a continuation without tokens, expected at least one");
  const size_t room = context_.n_ctx() + 1;  // the last token is predicted, not read
  if (ids.size() > room) {
    const size_t drop = ids.size() - room;
    if (drop >= n_before)
      fail(ErrorKind::kLimit,
           "a continuation of {} tokens and what stands before it do not fit into a context of {}; {}",
           ids.size() - n_before, context_.n_ctx(), room_for(engine_.config(), ids.size()));
    ids.erase(ids.begin(), ids.begin() + long(drop));
    n_before -= drop;
  }
  const std::span<const int32_t> read = std::span<const int32_t>(ids).first(ids.size() - 1);
  // The last token of the context is computed again, because its logits are needed. A prompt that chooses neurons must
  // be seen whole.
  const size_t common = context_.learns_from_prompts() ? 0 : n_common(context_.ids(), read, n_before - 1);
  const size_t held = context_.go_back(common);
  context_.set_prompt(n_before);
  ContinuationScore s;
  context_.append_all(
      read.subspan(held),
      [&](size_t first, MatView<const float> logits) {
        for (size_t i = 0; i < logits.rows; ++i) {
          const int32_t next = ids[held + first + i + 1];
          s.log_likelihood += log_prob(logits.row(i), next);
          s.greedy = s.greedy && int32_t(argmax(logits.row(i))) == next;
        }
      },
      n_before - 1 - held);
  return s;
}

}  // namespace hunch
