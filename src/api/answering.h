// A context, and what answers in it are made with: kept between answers, so that drafters go on with what they know.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "api/choices.h"
#include "api/inside.h"
#include "engine/drafting.h"
#include "hunch/generate.h"

namespace hunch {

class Answering {
 public:
  // The model outlives it; n_ctx 0: the model's own. Throws as Choices and Context.
  Answering(ModelImpl& model, const ComputeChoice& choice, size_t n_ctx = 0);

  Context& context() { return context_; }
  // Appends the ids to the context and answers.
  Generation generate(std::span<const int32_t> ids, const GenerationOptions& options, const OnText& on_text);
  // The answer that `make` makes in a context which computes as the options say.
  using Make = std::function<Generated(Context&, const GenerateOptions&,
                                       const std::function<bool(const GeneratedToken&)>& on_token)>;
  Generation answer(const GenerationOptions& options, const OnText& on_text, const Make& make);

 private:
  // The context, or one that computes its sequence with another plan, router or adapter. Throws as Choices, and
  // Error{kUsage} for another key policy: what one has dropped another cannot know.
  Context& computed_as(const ComputeChoice& choice);
  // Who drafts for an answer in `context`, which is one of these; nullptr: nobody. Throws as Drafting.
  Speculation* speculation(const DraftOptions& drafts, const Context& context);

  ModelImpl& model_;
  const PlanKey began_;
  const ContextOptions own_;
  Context context_;
  std::unique_ptr<Context> beside_;  // with another plan, router or adapter
  const Context* drafts_for_ = nullptr;
  DraftingOptions drafts_;
  std::unique_ptr<Drafting> drafting_;  // refers to the contexts
};

}  // namespace hunch
