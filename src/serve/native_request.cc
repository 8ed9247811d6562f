#include "serve/native_request.h"

#include <algorithm>

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

Json native_with_defaults(const Json& request) {
  Json out = {{"temperature", 0.8}, {"top_k", 40}, {"top_p", 0.95}, {"min_p", 0.05}};
  for (const auto& [name, value] : request.items())
    if (!value.is_null()) out[name] = value;
  // [[ID, BIAS], ...], where false forbids.
  if (const auto bias = out.find("logit_bias"); bias != out.end() && bias->is_array()) {
    Json object = Json::object();
    for (const Json& entry : *bias) {
      const bool is_pair = entry.is_array() && entry.size() == 2 && entry[0].is_number_integer();
      if (!is_pair || !(entry[1].is_number() || entry[1] == false))
        refuse("logit_bias", "'logit_bias' has the entry {}, expected [ID, BIAS] or [ID, false]", entry.dump());
      object[std::to_string(entry[0].get<int64_t>())] = entry[1].is_number() ? entry[1] : Json(-100);
    }
    *bias = std::move(object);
  }
  return out;
}

void refuse_samplers(const Fields& f) {
  for (const char* name : {"mirostat", "dynatemp_range", "dry_multiplier", "xtc_probability"})
    if (f.number(name, 0, -1e9, 1e9) != 0) refuse(name, "'{}' is not supported by this server", name);
  for (const char* name : {"top_n_sigma", "t_max_predict_ms"})
    if (f.number(name, -1, -1e9, 1e9) > 0) refuse(name, "'{}' is not supported by this server", name);
  if (f.flag("post_sampling_probs", false))
    refuse("post_sampling_probs", "'post_sampling_probs' is not supported by this server: it tells log-probabilities");
}

// A list of texts and ids is one prompt where there is an id in it.
std::vector<Prompt> mixed_prompt(const Json& list) {
  std::vector<Prompt> out;
  Json ids = Json::array();
  const auto end_ids = [&] {
    if (!ids.empty()) out.emplace_back(ids_of(ids, "prompt"));
    ids = Json::array();
  };
  for (const Json& entry : list) {
    if (entry.is_string()) {
      end_ids();
      out.emplace_back(entry.get<std::string>());
    } else {
      ids.push_back(entry);
    }
  }
  end_ids();
  return out;
}

}  // namespace

NativeRequest native_request(std::string_view body) {
  const Json json = native_with_defaults(parse_body(body));
  const Fields f(json);
  NativeRequest out;
  f.text("model");
  refuse_samplers(f);
  Settings& s = out.settings;
  s.sampler = sampler_of(f);
  s.form = answer_form_of(f);
  if (const int64_t n = f.integer("n_predict", f.integer("max_tokens", -1, -2, 1 << 30), -2, 1 << 30); n >= 0)
    s.n_tokens = size_t(n);
  if (const int64_t seed = f.integer("seed", -1, INT64_MIN, INT64_MAX); seed != -1) s.seed = uint64_t(seed);
  s.stop = stops_of(f, "stop");
  s.ignore_end = f.flag("ignore_eos", false);
  s.stream = f.flag("stream", false);
  s.n_top_log_probs = size_t(f.integer("n_probs", 0, 0, kMostTopLogProbs));
  s.log_probs = s.n_top_log_probs > 0;
  read_own_fields(f, s);
  out.with_tokens = f.flag("return_tokens", false);

  const Json* prompt = f.find("prompt");
  const auto is_number = [](const Json& entry) { return entry.is_number(); };
  if (prompt && prompt->is_array() && std::ranges::any_of(*prompt, is_number)) {
    out.prompts.push_back(mixed_prompt(*prompt));
  } else if (prompt && prompt->is_array()) {
    out.is_list = true;
    if (prompt->empty() || prompt->size() > kMostPrompts)
      refuse("prompt", "'prompt' has {} entries, expected 1 to {}", prompt->size(), kMostPrompts);
    for (const Json& entry : *prompt) {
      if (!entry.is_string() && !entry.is_array())
        refuse("prompt", "'prompt' has an entry of type {}, expected texts or lists", entry.type_name());
      out.prompts.push_back(mixed_prompt(entry.is_string() ? Json::array({entry}) : entry));
    }
  } else {
    out.prompts.push_back(prompts_of(f, "prompt", 1));
  }
  out.echoed = {{"n_predict", s.n_tokens ? int64_t(*s.n_tokens) : -1},
                {"temperature", s.sampler.temperature},
                {"top_k", s.sampler.top_k},
                {"top_p", s.sampler.top_p},
                {"min_p", s.sampler.min_p},
                {"typical_p", s.sampler.typical_p},
                {"repeat_penalty", s.sampler.repeat_penalty},
                {"repeat_last_n", s.sampler.penalty_last_n},
                {"presence_penalty", s.sampler.presence_penalty},
                {"frequency_penalty", s.sampler.frequency_penalty},
                {"stop", s.stop},
                {"ignore_eos", s.ignore_end},
                {"n_probs", s.n_top_log_probs},
                {"stream", s.stream}};
  return out;
}

}  // namespace hunch::serve
