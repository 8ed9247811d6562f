#include "engine/context.h"

#include <algorithm>

#include "base/error.h"

namespace hunch {

std::shared_ptr<const PromptPatterns> prompt_patterns(const Engine& engine, std::string_view text) {
  if (text != "sidecar") return std::make_shared<const PromptPatterns>(prompt_patterns_from(text));
  const Sidecar& sidecar = engine.need_sidecar();
  if (!sidecar.prompts)
    fail(ErrorKind::kNotFound,
         "the sidecar has no patterns of prompts (prefill): `hunch sparsify --prefill 1024` finds them");
  return sidecar.prompts;
}

SequenceOptions sequence_options(const Engine& engine, const ContextOptions& options) {
  SequenceOptions own;
  own.plan = options.plan ? options.plan : engine.plan_named(options.mode, options.density);
  const bool limits_prompts = !options.prefill.empty() && options.prefill != "dense";
  if (options.keys || options.experts || limits_prompts) {
    auto plan = std::make_shared<Plan>(*own.plan);
    if (limits_prompts) plan->set_prompts(engine.config(), prompt_patterns(engine, options.prefill));
    if (options.keys) plan->set_keys(engine.config(), options.keys);
    if (options.experts) plan->set_experts(engine.config(), options.experts);
    own.plan = std::move(plan);
  }
  own.adapter = options.adapter.value_or(engine.adapter);
  own.n_ctx = options.n_ctx;
  own.oracle_density = options.oracle_density;
  own.oracle_head_density = options.oracle_head_density;
  return own;
}

namespace {

SequenceOptions options_beside(const Engine& engine, const ContextOptions& options, const Sequence& host) {
  SequenceOptions own = sequence_options(engine, options);
  if (!options.adapter) own.adapter = host.adapter();
  return own;
}

}  // namespace

ContextOptions with_virtual_tokens(const Engine& engine, ContextOptions options) {
  const std::shared_ptr<const Adapter> adapter = options.adapter.value_or(engine.adapter);
  options.n_ctx = resolve_context(engine.config(), options.n_ctx);
  if (!adapter) return options;
  const size_t n = options.n_ctx + adapter->virtual_tokens.n;
  options.n_ctx = has_position_table(engine.config()) ? std::min(n, engine.config().n_ctx_train) : n;
  return options;
}

Context::Context(const Engine& engine, const ContextOptions& asked)
    : Context(engine, with_virtual_tokens(engine, asked), Sized()) {}

Context::Context(const Engine& engine, const ContextOptions& options, Sized)
    : engine_(engine),
      batch_(engine, BatchOptions{options.n_ctx, options.kv_type}),
      sequence_(batch_.new_sequence(sequence_options(engine, options))),
      decodes_all_(options.decodes_all),
      n_prompt_(n_ctx() / 2) {}

Context::Context(const Engine& engine, const ContextOptions& options, const Sequence& host)
    : engine_(engine),
      batch_(engine, host.shared_cache()),
      sequence_(std::make_unique<Sequence>(host, options_beside(engine, options, host))),
      decodes_all_(options.decodes_all),
      n_prompt_(n_ctx() / 2) {}

size_t Context::kv_bytes() const {
  const KvShape& shape = batch_.cache()->shape();
  return KvCache::bytes_per_token(shape) * n_ctx() + KvCache::bytes_per_sequence(shape);
}

void Context::truncate(size_t n_tokens) {
  if (plan().drops_keys()) return sequence_->truncate(n_tokens);
  const std::vector<int32_t> ids(sequence_->ids().begin(), sequence_->ids().begin() + ptrdiff_t(n_tokens));
  if (const size_t n = sequence_->go_back(n_tokens); n < n_tokens) append(std::span(ids).subspan(n));
}

MatView<const float> Context::run(std::span<const int32_t> ids, Phase phase, size_t n_logits, bool as_alone,
                                  size_t n_text) {
  const SequenceRun run{sequence_.get(), ids, phase, n_logits, as_alone, only_best_, n_text};
  return batch_.compute({&run, 1});
}

void Context::append_all(std::span<const int32_t> ids, const std::function<void(size_t, MatView<const float>)>& each,
                         size_t first_wanted) {
  sequence_->require_room(ids.size());
  const bool learns = decodes_all_ && learns_from_prompts();
  const size_t n_text = n_tokens() + ids.size();
  for (size_t begin = 0; begin < ids.size();) {
    throw_if_stopped();
    const bool in_prompt = learns && n_tokens() < n_prompt_, decodes = decodes_all_ && !in_prompt;
    size_t n = sequence_->n_together(ids.size() - begin, kBatchTokens);
    if (in_prompt) n = std::min(n, n_prompt_ - n_tokens());
    if (decodes && plan().drops_keys()) n = 1;  // who chooses keys does so after every token
    const size_t wanted = std::min(n, begin + n - std::min(begin + n, first_wanted));
    const MatView<const float> logits =
        run(ids.subspan(begin, n), decodes ? Phase::kDecode : Phase::kPrompt, wanted, false, n_text);
    begin += n;
    if (wanted) each(begin - wanted, logits);
  }
}

MatView<const float> Context::verify(std::span<const int32_t> ids) {
  sequence_->require_room(ids.size());
  return run(ids, ids.size() > 1 ? Phase::kVerify : Phase::kDecode, ids.size(), true);
}

std::span<const float> Context::decode(std::span<const int32_t> ids) {
  sequence_->require_room(ids.size());
  return run(ids, Phase::kDecode, 1).row(0);
}

std::span<const float> Context::append(std::span<const int32_t> ids, const Progress& progress) {
  if (ids.empty()) fail(ErrorKind::kUsage, "nothing to compute: the prompt has no tokens");
  sequence_->require_room(ids.size());
  MatView<const float> logits;
  const size_t n_text = n_tokens() + ids.size();
  for (size_t begin = 0; begin < ids.size();) {
    if (begin) throw_if_stopped();
    const auto batch = ids.subspan(begin, sequence_->n_together(ids.size() - begin, kBatchTokens));
    begin += batch.size();
    logits = run(batch, Phase::kPrompt, begin == ids.size(), false, n_text);
    if (progress) progress("prompt", begin, ids.size());
  }
  sequence_->pack_settled();  // part of the prompt's time
  return logits.row(0);
}

}  // namespace hunch
