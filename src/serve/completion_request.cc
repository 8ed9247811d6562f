#include "serve/completion_request.h"

#include "serve/request_error.h"

namespace hunch::serve {

std::vector<Prompt> prompts_of(const Fields& fields, const char* name, size_t most) {
  const Json* value = fields.find(name);
  const std::string param = fields.name(name);
  if (!value) refuse(param, "'{}' is missing, expected a string or a list", param);
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) refuse(param, "'{}' is of type {}, expected a string or a list", param, value->type_name());
  if (value->empty()) refuse(param, "'{}' is an empty list", param);
  if ((*value)[0].is_number()) return {ids_of(*value, param)};
  if (value->size() > most) refuse(param, "'{}' has {} entries, expected at most {}", param, value->size(), most);
  std::vector<Prompt> out;
  for (const Json& entry : *value) {
    if (entry.is_string()) {
      out.emplace_back(entry.get<std::string>());
    } else if (entry.is_array()) {
      out.emplace_back(ids_of(entry, param));
    } else {
      refuse(param, "'{}' has an entry of type {}, expected strings or lists of token ids", param, entry.type_name());
    }
  }
  return out;
}

CompletionRequest completion_request(std::string_view body) {
  const Json json = parse_body(body);
  const Fields fields(json);
  CompletionRequest out;
  fields.text("model");
  refuse_unsupported(fields);
  out.settings = settings_of(fields);
  out.settings.form = answer_form_of(fields);
  if (const Json* tools = fields.find("tools"); tools && !tools->empty())
    refuse("tools", "'tools' are for chats: a completion has no place for them");
  out.prompts = prompts_of(fields, "prompt", kMostPrompts);
  const size_t n_of_prompt = out.settings.n_candidates;
  if (out.prompts.size() * n_of_prompt > kMostPrompts)
    refuse(n_of_prompt > out.settings.n_choices ? "best_of" : "n",
           "{} answers to each of {} prompts are too many, expected at most {} in all", n_of_prompt, out.prompts.size(),
           kMostPrompts);
  out.echo = fields.flag("echo", false);
  if (fields.has("logprobs")) {
    out.settings.log_probs = true;
    out.settings.n_top_log_probs = size_t(fields.integer("logprobs", 0, 0, kMostTopLogProbs));
  }
  read_beams(fields, out.settings);
  if (out.settings.beam_width && out.echo && out.settings.log_probs)
    refuse("echo", "'echo' with 'logprobs' does not go with 'use_beam_search'");
  return out;
}

}  // namespace hunch::serve
