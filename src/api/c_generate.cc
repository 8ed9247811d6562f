// The C API: answers.
#include "api/c_common.h"

using namespace hunch::c;

namespace {

hunch_generation_options generation_defaults() {
  const hunch::GenerationOptions d;
  hunch_generation_options o{};
  o.n_tokens = d.n_tokens;
  o.temperature = d.temperature;
  o.top_k = d.top_k;
  o.top_p = d.top_p;
  o.min_p = d.min_p;
  o.typical_p = d.typical_p;
  o.repeat_penalty = d.repeat_penalty;
  o.frequency_penalty = d.frequency_penalty;
  o.presence_penalty = d.presence_penalty;
  o.penalty_last_n = d.penalty_last_n;
  o.seed = d.seed;
  o.log_probs = d.log_probs;
  return o;
}

}  // namespace

namespace hunch::c {

GenerationOptions generation_options(const hunch_generation_options* options) {
  const hunch_generation_options c = take_sized(options, generation_defaults());
  require((c.stop || c.n_stop == 0) && ((c.bias_ids && c.bias) || c.n_bias == 0),
          "hunch_generation_options: a list is NULL");
  GenerationOptions o;
  o.n_tokens = c.n_tokens;
  o.temperature = c.temperature;
  o.top_k = c.top_k;
  o.top_p = c.top_p;
  o.min_p = c.min_p;
  o.typical_p = c.typical_p;
  o.repeat_penalty = c.repeat_penalty;
  o.frequency_penalty = c.frequency_penalty;
  o.presence_penalty = c.presence_penalty;
  o.penalty_last_n = c.penalty_last_n;
  o.seed = c.seed;
  o.ignore_end = c.ignore_end != 0;
  for (size_t i = 0; i < c.n_stop; ++i) o.stop.push_back(text_or_empty(c.stop[i]));
  for (size_t i = 0; i < c.n_bias; ++i) o.logit_bias[c.bias_ids[i]] = c.bias[i];
  o.log_probs = c.log_probs != 0;
  o.n_top_log_probs = c.n_top_log_probs;
  take_choices(c, o);
  o.drafts.lossless = c.lossless != 0;
  o.drafts.ngram = c.ngram != 0;
  o.drafts.model = c.draft_model ? &c.draft_model->model : nullptr;
  o.drafts.n_tokens = c.n_draft_tokens;
  o.as_alone = c.as_alone != 0;
  o.cancel = cancel_of(c.cancel);
  return o;
}

OnText on_text_of(hunch_on_text on_text, void* user) {
  if (!on_text) return {};
  return [=](std::string_view piece) { return on_text(std::string(piece).c_str(), user) != 0; };
}

}  // namespace hunch::c

extern "C" {

void hunch_generation_options_init_sized(hunch_generation_options* options, size_t size) {
  give_sized(generation_defaults(), options, size);
}

hunch_answer* hunch_answer_prompt(hunch_model* model, const char* prompt, const hunch_generation_options* options,
                                  hunch_on_text on_text, void* user) {
  return guarded<hunch_answer*>(nullptr, [&] {
    require(model && prompt, "hunch_answer_prompt: a pointer is NULL");
    return new hunch_answer{
        hunch::generate(model->model, prompt, generation_options(options), on_text_of(on_text, user))};
  });
}

hunch_answer* hunch_answer_prompt_ids(hunch_model* model, const int32_t* ids, size_t n_ids,
                                      const hunch_generation_options* options, hunch_on_text on_text, void* user) {
  return guarded<hunch_answer*>(nullptr, [&] {
    require(model, "hunch_answer_prompt_ids: model is NULL");
    return new hunch_answer{
        hunch::generate(model->model, ids_of(ids, n_ids), generation_options(options), on_text_of(on_text, user))};
  });
}

char* hunch_generate(hunch_model* model, const char* prompt, const hunch_generation_options* options,
                     hunch_on_text on_text, void* user) {
  return guarded<char*>(nullptr, [&] {
    require(model && prompt, "hunch_generate: a pointer is NULL");
    return copy_of(hunch::generate(model->model, prompt, generation_options(options), on_text_of(on_text, user)).text);
  });
}

void hunch_answer_free(hunch_answer* answer) { delete answer; }
const char* hunch_answer_text(const hunch_answer* answer) { return answer ? answer->generation.text.c_str() : ""; }
size_t hunch_answer_n_tokens(const hunch_answer* answer) { return answer ? answer->generation.ids.size() : 0; }
const int32_t* hunch_answer_ids(const hunch_answer* answer) { return answer ? answer->generation.ids.data() : nullptr; }
const float* hunch_answer_log_probs(const hunch_answer* answer) {
  return answer && !answer->generation.log_probs.empty() ? answer->generation.log_probs.data() : nullptr;
}

size_t hunch_answer_top(const hunch_answer* answer, size_t token, int32_t* ids, float* log_probs, size_t capacity) {
  if (!answer || token >= answer->generation.top_log_probs.size()) return 0;
  const auto& top = answer->generation.top_log_probs[token];
  for (size_t i = 0; i < top.size() && i < capacity; ++i) {
    if (ids) ids[i] = top[i].id;
    if (log_probs) log_probs[i] = top[i].log_prob;
  }
  return top.size();
}

void hunch_answer_info_get_sized(const hunch_answer* answer, hunch_answer_info* info, size_t size) {
  hunch_answer_info out{};
  out.stop_reason = "";
  if (answer) {
    const hunch::Generation& g = answer->generation;
    out.n_prompt = g.n_prompt;
    out.stop_reason = g.stop_reason.c_str();
    out.prompt_tokens_per_s = g.prompt_tokens_per_s;
    out.tokens_per_s = g.tokens_per_s;
    out.gb_per_s = g.gb_per_s;
    out.density = g.density;
    out.n_drafted = g.n_drafted;
    out.n_accepted = g.n_accepted;
    out.n_forgotten = answer->n_forgotten;
    out.n_cached = answer->n_cached;
  }
  give_sized(out, info, size);
}

}  // extern "C"
