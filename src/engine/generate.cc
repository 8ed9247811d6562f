// One answer: a batch of one.
#include "engine/generate.h"

#include "engine/answer.h"

namespace hunch {

const char* name_of(StopReason reason) {
  switch (reason) {
    case StopReason::kLength: return "length";
    case StopReason::kEndOfText: return "end_of_text";
    case StopReason::kStopString: return "stop_string";
    case StopReason::kContextFull: return "context_full";
    case StopReason::kInterrupted: return "interrupted";
  }
  return "unknown";
}

Generated generate(Context& context, std::span<const int32_t> prompt_ids, const GenerateOptions& options,
                   const std::function<bool(const GeneratedToken&)>& on_token) {
  Batch& batch = context.batch();
  struct Part {  // also when a step throws
    Batch& batch;
    const std::shared_ptr<Answer> answer;
    ~Part() { batch.remove(*answer); }
  } const part{batch, batch.admit(context.sequence(), {prompt_ids.begin(), prompt_ids.end()}, options, on_token)};
  while (!part.answer->is_done()) batch.step();
  return part.answer->generated();
}

}  // namespace hunch
