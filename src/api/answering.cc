#include "api/answering.h"

#include "api/impl.h"
#include "api/options.h"
#include "base/error.h"

namespace hunch {

Answering::Answering(ModelImpl& model, const ComputeChoice& choice, size_t n_ctx)
    : model_(model),
      began_(model.plan_key(choice)),
      own_(model.context_options(choice, n_ctx)),
      context_(model.engine, own_) {}

Context& Answering::computed_as(const ComputeChoice& choice) {
  if (choice.kv_policy && *choice.kv_policy != began_.kv_policy)
    fail(ErrorKind::kUsage, "an answer with the key policy '{}' in a text that began with '{}': expected the same",
         *choice.kv_policy, began_.kv_policy);
  ContextOptions wanted = own_;
  if (choice.plan || choice.experts)
    wanted.plan = model_.choices.plan(
        {choice.plan.value_or(began_.plan), began_.kv_policy, choice.experts.value_or(began_.experts)});
  if (choice.adapters) wanted.adapter = model_.choices.adapter(*choice.adapters);
  if (computes_as(wanted, context_)) return context_;
  if (!beside_ || !computes_as(wanted, *beside_)) {
    drafting_.reset();
    beside_.reset();
    beside_ = std::make_unique<Context>(model_.engine, wanted, context_.sequence());
  }
  return *beside_;
}

Speculation* Answering::speculation(const DraftOptions& drafts, const Context& context) {
  const DraftingOptions wanted = drafting_options(drafts, model_.engine);
  if (!wanted.any()) return nullptr;
  if (!drafting_ || !(wanted == drafts_) || drafts_for_ != &context) {
    drafting_.reset();
    drafting_ = std::make_unique<Drafting>(model_.engine, context.sequence(), wanted);
    drafts_ = wanted;
    drafts_for_ = &context;
  }
  return &drafting_->speculation();
}

Generation Answering::answer(const GenerationOptions& options, const OnText& on_text, const Make& make) {
  Context& context = computed_as(choice_of(options));
  GenerateOptions own = generate_options(options);
  own.speculation = speculation(options.drafts, context);
  AnswerRecord record(options, on_text);
  const DraftCount before = drafts_of(own.speculation);
  const Generated made = make(context, own, [&](const GeneratedToken& token) { return record.take(token); });
  return record.generation(made, drafts_of(own.speculation) - before);
}

Generation Answering::generate(std::span<const int32_t> ids, const GenerationOptions& options, const OnText& on_text) {
  return answer(options, on_text, [&](Context& context, const GenerateOptions& own, const auto& on_token) {
    return hunch::generate(context, ids, own, on_token);
  });
}

}  // namespace hunch
