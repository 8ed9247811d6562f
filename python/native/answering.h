// The options of answers, which all that answers takes.
#pragma once
#include <hunch/generate.h>

#include "model.h"

namespace hunch::python {

struct Answering : hunch::GenerationOptions {
  std::vector<HeldModel> draft = {};  // the draft model, or none
};

const OptionTable<Answering>& answer_options();

// What is given; `caller` for messages.
Answering answering_from(const py::kwargs& given, const char* caller);
// The draft model is looked up when it is its turn; nullptr: nobody cancels.
inline void begin(Answering& options, const hunch::Cancel* cancel) {
  options.cancel = cancel;
  if (!options.draft.empty()) options.drafts.model = &options.draft[0]->get();
}

}  // namespace hunch::python
