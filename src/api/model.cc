// A model from a file, and its text.
#include "hunch/model.h"

#include <nlohmann/json.hpp>

#include "api/impl.h"
#include "base/error.h"
#include "text/chat_template.h"

namespace hunch {
namespace {

Engine load(const std::filesystem::path& path, const LoadOptions& options) {
  EngineOptions own;
  own.n_threads = options.n_threads;
  own.sidecar = options.sidecar;
  if (options.threads_of) own.compute = options.threads_of->impl()->engine.compute;
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
  info.has_tokenizer = engine.tokenizer.has_value();
  info.has_chat_template = engine.tokenizer && !engine.tokenizer->spec().chat_template.empty();
  return info;
}

}  // namespace

std::shared_ptr<const Plan> LanguageModel::Impl::plan(const PlanChoice& choice) {
  for (const auto& [known, made] : plans_)
    if (known == choice) return made;
  std::shared_ptr<const Plan> made;
  if (choice.sidecar.empty()) {
    made = engine.plan_named(choice.name, choice.density);
  } else {
    if (choice.name != "sparse")
      fail(ErrorKind::kUsage, "a sidecar goes with the plan \"sparse\", found it with \"{}\"", choice.name);
    const Sidecar sidecar = open_sidecar(choice.sidecar);
    check_sidecar(sidecar, engine.model->file(), engine.config());
    made = std::make_shared<const Plan>(sidecar.plan(engine.config(), choice.density));
  }
  plans_.emplace_back(choice, made);
  return made;
}

ContextOptions LanguageModel::Impl::context_options(const std::optional<PlanChoice>& choice, size_t n_ctx) {
  ContextOptions own;
  own.n_ctx = resolve_context(engine.config(), n_ctx ? n_ctx : options.n_ctx);
  own.kv_dtype = options.kv_f16 ? DType::kF16 : DType::kF32;
  own.plan = plan(choice.value_or(options.plan));
  return own;
}

Answering& LanguageModel::Impl::fresh(const std::optional<PlanChoice>& choice) {
  const ContextOptions wanted = context_options(choice);
  if (!answering_ || &answering_->context().plan() != wanted.plan.get()) {
    answering_.reset();  // before the next one's memory is reserved
    answering_ = std::make_unique<Answering>(*this, wanted);
  }
  answering_->context().truncate(0);
  return *answering_;
}

Context& LanguageModel::Impl::fresh_for_values(const std::optional<PlanChoice>& choice) {
  ContextOptions wanted = context_options(choice);
  wanted.decodes_all = wanted.plan->name == "sparse";  // the others give a prompt the same values
  if (!values_ || &values_->plan() != wanted.plan.get()) {
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
  plans_.clear();
  answering_.reset();
  values_.reset();
}

LanguageModel::LanguageModel(const std::filesystem::path& path, const LoadOptions& options)
    : impl_(std::make_shared<Impl>()) {
  impl_->options = options;
  impl_->options.threads_of = nullptr;  // need not outlive the call
  impl_->engine = load(path, options);
  impl_->info = info_of(impl_->engine);
  impl_->plan(options.plan);  // what is wrong with it is wrong now
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

}  // namespace hunch
