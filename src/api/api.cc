// The public C++ API over the engine.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/generate.h"
#include "hunch/evaluate.h"
#include "hunch/generate.h"
#include "hunch/model.h"
#include "measure/perplexity.h"
#include "text/chat_template.h"

namespace hunch {

struct LanguageModel::Impl {
  Engine engine;
  ContextOptions context_options;
  std::unique_ptr<Context> context;  // made at the first use, kept
  ModelInfo info;

  Context& fresh_context() {
    if (!context) context = std::make_unique<Context>(engine, context_options);
    context->truncate(0);
    return *context;
  }
};

LanguageModel::LanguageModel(const std::filesystem::path& path, const LoadOptions& options)
    : impl_(std::make_unique<Impl>()) {
  Impl& i = *impl_;
  i.engine = load_engine(path, {options.n_threads, false, false});
  i.context_options.n_ctx = resolve_context(i.engine.config(), options.n_ctx);
  i.context_options.kv_dtype = options.kv_f16 ? DType::kF16 : DType::kF32;
  i.context_options.mode = options.exact_skip ? "exact" : "dense";
  const ModelConfig& c = i.engine.config();
  const ModelWeights& w = i.engine.model->weights();
  i.info = {c.arch,
            c.name,
            name_of(i.engine.model->main_dtype()),
            w.n_params,
            w.bytes,
            c.n_layer,
            c.n_embd,
            c.n_head,
            c.n_kv_head,
            c.n_ff,
            c.n_vocab,
            c.n_ctx_train,
            i.engine.tokenizer.has_value()};
}

LanguageModel::~LanguageModel() = default;
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;

const ModelInfo& LanguageModel::info() const { return impl_->info; }

std::vector<int32_t> LanguageModel::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  return impl_->engine.need_tokenizer().encode(text, {add_special, parse_special});
}

std::string LanguageModel::detokenize(std::span<const int32_t> ids, bool skip_special) const {
  return impl_->engine.need_tokenizer().decode(ids, skip_special);
}

std::string LanguageModel::apply_chat_template(std::string_view messages_json, bool add_generation_prompt) const {
  const Tokenizer& tokenizer = impl_->engine.need_tokenizer();
  const TokenizerSpec& spec = tokenizer.spec();
  if (spec.chat_template.empty()) fail(ErrorKind::kNotFound, "the model has no chat template");
  const auto messages = nlohmann::ordered_json::parse(messages_json, nullptr, false);
  if (messages.is_discarded()) fail(ErrorKind::kUsage, "the messages are not JSON");
  TemplateOptions options;
  options.add_generation_prompt = add_generation_prompt;
  if (spec.bos) options.bos_token = spec.pieces[size_t(*spec.bos)];
  if (spec.eos) options.eos_token = spec.pieces[size_t(*spec.eos)];
  return hunch::apply_chat_template(spec.chat_template, messages, options);
}

namespace {

Generation summary(const Generated& g, std::vector<float> log_probs) {
  Generation out;
  out.text = g.text;
  out.ids = g.ids;
  out.log_probs = std::move(log_probs);
  out.n_prompt = g.n_prompt;
  out.stop_reason = name_of(g.stop_reason);
  if (g.prompt_seconds > 0) out.prompt_tokens_per_s = double(g.n_prompt) / g.prompt_seconds;
  if (g.seconds > 0) {
    out.tokens_per_s = double(g.ids.size()) / g.seconds;
    out.gb_per_s = double(g.stats.weight_bytes + g.stats.kv_bytes) / g.seconds / 1e9;
  }
  double active = 0, all = 0;
  for (uint64_t n : g.stats.active_neurons) active += double(n);
  for (uint64_t n : g.stats.all_neurons) all += double(n);
  if (all > 0) out.density = active / all;
  return out;
}

}  // namespace

Generation generate(LanguageModel& model, std::span<const int32_t> prompt_ids, const GenerationOptions& o,
                    const OnText& on_text) {
  GenerateOptions options;
  options.n_tokens = o.n_tokens;
  options.stop = o.stop;
  options.ignore_end = o.ignore_end;
  options.log_probs = o.log_probs;
  options.sampler = {o.logit_bias,
                     o.repeat_penalty,
                     o.frequency_penalty,
                     o.presence_penalty,
                     o.penalty_last_n,
                     o.temperature,
                     o.top_k,
                     o.typical_p,
                     o.top_p,
                     o.min_p,
                     o.seed};
  std::vector<float> log_probs;
  LanguageModel::Impl& impl = model.impl();
  const Generated g = generate(impl.fresh_context(), prompt_ids, options, [&](const GeneratedToken& token) {
    if (log_probs.size() < o.n_tokens) log_probs.push_back(token.log_prob);
    return token.text.empty() || !on_text || on_text(token.text);
  });
  log_probs.resize(o.log_probs ? g.ids.size() : 0);
  return summary(g, std::move(log_probs));
}

Generation generate(LanguageModel& model, std::string_view prompt, const GenerationOptions& options,
                    const OnText& on_text) {
  const std::vector<int32_t> ids = model.tokenize(prompt);
  return generate(model, std::span<const int32_t>(ids), options, on_text);
}

Logits logits(LanguageModel& model, std::span<const int32_t> ids) {
  LanguageModel::Impl& impl = model.impl();
  Logits out{ids.size(), impl.engine.config().n_vocab, {}};
  out.values.resize(out.n_tokens * out.n_vocab);
  impl.fresh_context().append_all(ids, [&](size_t first, MatView<const float> rows) {
    std::copy_n(rows.data, rows.rows * rows.cols, out.values.begin() + long(first * out.n_vocab));
  });
  return out;
}

TextPerplexity perplexity(LanguageModel& model, std::string_view text, size_t n_ctx, size_t stride) {
  LanguageModel::Impl& impl = model.impl();
  const std::vector<int32_t> ids = model.tokenize(text);
  const Perplexity p = perplexity(impl.engine, impl.context_options, ids, PerplexityOptions{n_ctx, stride, 0});
  return {p.perplexity, p.nll, p.n_tokens};
}

}  // namespace hunch
