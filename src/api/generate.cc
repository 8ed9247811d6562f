// An answer from an empty context.
#include "hunch/generate.h"

#include "api/impl.h"

namespace hunch {

Generation generate(LanguageModel& model, std::span<const int32_t> prompt_ids, const GenerationOptions& options,
                    const OnText& on_text) {
  GenerationOptions rest = options;
  rest.plan.reset();  // it is the context's own
  return model.impl()->fresh(options.plan).generate(prompt_ids, rest, on_text);
}

Generation generate(LanguageModel& model, std::string_view prompt, const GenerationOptions& options,
                    const OnText& on_text) {
  const std::vector<int32_t> ids = model.tokenize(prompt);
  return generate(model, std::span<const int32_t>(ids), options, on_text);
}

}  // namespace hunch
