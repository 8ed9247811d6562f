// A model from a file, and its text.
#include "hunch/model.h"

#include <nlohmann/json.hpp>

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "io/printable.h"
#include "text/chat_text.h"
#include "text/json_depth.h"

namespace hunch {
namespace {

Engine load(const std::filesystem::path& path, const LoadOptions& options) {
  EngineOptions own;
  own.sidecar = options.sidecar;
  own.costs = options.costs;
  own.device.name = options.device;
  own.device.n_layers = options.gpu_layers;
  own.device.neurons = options.gpu_neurons;
  const auto precision = precision_from_name(options.precision);
  if (!precision) fail(ErrorKind::kUsage, "precision '{}': expected f32 or bf16", printable(options.precision));
  own.compute = options.threads_of
                    ? impl_of(*options.threads_of)->engine.compute
                    : std::make_shared<Compute>(options.n_threads ? options.n_threads : default_n_threads());
  if (!options.threads_of) own.compute->precision = *precision;
  const StopScope scope(*own.compute, stop_of(options.cancel));
  return load_engine(path, own);
}

ModelInfo info_of(const Engine& engine) {
  const ModelConfig& c = engine.config();
  const ModelWeights& w = engine.model->weights();
  ModelInfo info;
  info.architecture = c.arch;
  info.name = c.name;
  info.dtype = name_of(engine.model->main_dtype());
  info.n_params = w.n_params;
  info.weight_bytes = w.bytes;
  info.n_layer = c.n_layer;
  info.n_embd = c.n_embd;
  info.n_head = c.n_head;
  info.n_kv_head = c.n_kv_head;
  info.n_ff = c.n_ff;
  info.n_vocab = c.n_vocab;
  info.n_ctx_train = c.n_ctx_train;
  info.device = engine.device ? engine.device->name() : "cpu";
  info.has_tokenizer = engine.tokenizer.has_value();
  if (engine.tokenizer) {
    info.bos = engine.tokenizer->spec().bos.value_or(-1);
    info.eos = engine.tokenizer->spec().eos.value_or(-1);
  }
  info.has_chat_template = engine.tokenizer && !engine.tokenizer->spec().chat_template.empty();
  return info;
}

}  // namespace

LanguageModel::Impl::Impl(Engine opened, const LoadOptions& load_options)
    : options(load_options), engine(std::move(opened)), info(info_of(engine)) {
  options.threads_of = nullptr;  // these need not outlive the call
  options.cancel = nullptr;
  // What is wrong with these is wrong now.
  cache_type(options.kv);
  info.n_ctx = context_options({}).n_ctx;
}

PlanKey LanguageModel::Impl::plan_key(const ComputeChoice& choice) const {
  return {choice.plan.value_or(options.plan), choice.kv_policy.value_or(options.kv_policy),
          choice.experts.value_or(options.experts)};
}

ContextOptions LanguageModel::Impl::context_options(const ComputeChoice& choice, size_t n_ctx) {
  ContextOptions own;
  own.n_ctx = resolve_context(engine.config(), n_ctx ? n_ctx : options.n_ctx);
  own.kv_type = cache_type(options.kv);
  own.plan = choices.plan(plan_key(choice));
  own.adapter = choices.adapter(choice.adapters.value_or(options.adapters));
  return own;
}

ContextOptions LanguageModel::Impl::options_for_values(const ComputeChoice& choice) {
  ContextOptions own = context_options(choice);
  own.decodes_all = own.plan->name == "sparse" || own.plan->keys;  // the others give a prompt the same values
  return own;
}

Answering& LanguageModel::Impl::fresh(const ComputeChoice& choice) {
  if (!answering_ || !computes_as(context_options(choice), answering_->context())) {
    answering_.reset();  // before the next one's memory is reserved
    answering_ = std::make_unique<Answering>(*this, choice);
  }
  answering_->context().truncate(0);
  return *answering_;
}

Context& LanguageModel::Impl::fresh_for_values(const ComputeChoice& choice) {
  const ContextOptions wanted = options_for_values(choice);
  if (!values_ || !computes_as(wanted, *values_)) {
    values_.reset();
    values_ = std::make_unique<Context>(engine, wanted);
  }
  values_->truncate(0);
  return *values_;
}

void LanguageModel::Impl::use_sidecar(const std::filesystem::path& path) {
  auto sidecar = std::make_shared<const Sidecar>(open_sidecar(path));
  check_sidecar(*sidecar, engine.model->file(), engine.config());
  engine.sidecar = std::move(sidecar);
  engine.sidecar_path = path;
  engine.sidecar_problem.clear();
  choices.forget_plans();
  answering_.reset();
  values_.reset();
}

LanguageModel::LanguageModel(const std::filesystem::path& path, const LoadOptions& options)
    : impl_(std::make_shared<Impl>(load(path, options), options)) {}

LanguageModel::~LanguageModel() = default;
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;

const ModelInfo& LanguageModel::info() const { return impl_->info; }

std::vector<int32_t> LanguageModel::tokenize(std::string_view text, bool add_special, bool parse_special) const {
  return impl_->engine.encode(text, {.add_special = add_special, .parse_special = parse_special});
}

std::string LanguageModel::detokenize(std::span<const int32_t> ids, bool skip_special) const {
  return impl_->engine.need_tokenizer().decode(ids, skip_special);
}

std::string LanguageModel::apply_chat_template(std::string_view messages_json, bool add_generation_prompt) const {
  if (!impl_->info.has_chat_template) fail(ErrorKind::kNotFound, "the model has no chat template");
  ChatText text = chat_text(&impl_->engine.need_tokenizer(), "");
  if (json_depth(messages_json) > kMostJsonDepth)
    fail(ErrorKind::kUsage, "the messages nest deeper than {} levels", kMostJsonDepth);
  const auto messages = nlohmann::ordered_json::parse(messages_json, nullptr, false);
  if (messages.is_discarded()) fail(ErrorKind::kUsage, "the messages are not JSON");
  text.options.add_generation_prompt = add_generation_prompt;
  return hunch::apply_chat_template(text.source, messages, text.options);
}

}  // namespace hunch
