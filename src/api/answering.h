// A context, and what answers in it are made with: kept between answers, so that drafters go on with what they know.
#pragma once
#include <memory>
#include <optional>
#include <span>

#include "engine/drafting.h"
#include "hunch/generate.h"

namespace hunch {

class Answering {
 public:
  // The model outlives it. Throws as Context.
  Answering(LanguageModel::Impl& model, const ContextOptions& options);

  Context& context() { return context_; }
  // The context, or one that computes its sequence with this plan.
  Context& computed_as(const std::optional<PlanChoice>& plan);
  // Who drafts for an answer in `context`, which is one of these; nullptr: nobody. Throws as Drafting.
  Speculation* speculation(const DraftOptions& drafts, const Context& context);

  // Appends the ids to the context and answers.
  Generation generate(std::span<const int32_t> ids, const GenerationOptions& options, const OnText& on_text);

 private:
  LanguageModel::Impl& model_;
  Context context_;
  std::unique_ptr<Context> beside_;  // with another plan
  const Context* drafts_for_ = nullptr;
  DraftingOptions drafts_;
  std::unique_ptr<Drafting> drafting_;  // refers to the contexts
};

}  // namespace hunch
