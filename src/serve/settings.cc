#include "serve/settings.h"

#include <algorithm>
#include <cmath>

#include "serve/request_error.h"

namespace hunch::serve {
namespace {

bool says_nothing(const Json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return value == "" || value == "none" || value == "text" || value == "auto";
  if (value.is_object() && value.size() == 1 && value.contains("type")) return value["type"] == "text";
  if (value.is_array()) return std::ranges::all_of(value, [](const Json& entry) { return entry == "text"; });
  return value.empty();
}

}  // namespace

void refuse_unsupported(const Fields& fields) {
  for (const char* name :
       {"functions", "function_call", "modalities", "audio", "suffix", "prediction", "web_search_options"})
    if (const Json* value = fields.find(name); value && !says_nothing(*value))
      refuse(fields.name(name), "'{}' is not supported by this server", fields.name(name));
}

SamplerOptions sampler_of(const Fields& f) {
  SamplerOptions s;
  s.temperature = float(f.number("temperature", 1, 0, 100));
  s.top_p = float(f.number("top_p", 1, 0, 1));
  if (s.top_p == 0) s.top_p = 1e-9f;  // the most probable token alone
  s.min_p = float(f.number("min_p", 0, 0, 1));
  s.typical_p = float(f.number("typical_p", 1, 1e-6, 1));
  s.top_k = int32_t(f.integer("top_k", 0, -1, 1000000000));
  s.top_k = std::max(s.top_k, 0);  // -1: all, as elsewhere
  s.frequency_penalty = float(f.number("frequency_penalty", 0, -2, 2));
  s.presence_penalty = float(f.number("presence_penalty", 0, -2, 2));
  const char* repeat = f.has("repetition_penalty") ? "repetition_penalty" : "repeat_penalty";
  s.repeat_penalty = float(f.number(repeat, 1, 1e-2, 100));
  // OpenAI's penalties look at the whole text.
  const bool has_penalties = s.frequency_penalty != 0 || s.presence_penalty != 0;
  s.penalty_last_n = int32_t(f.integer("repeat_last_n", has_penalties ? -1 : 64, -1, 1000000000));
  s.logit_bias = f.biases("logit_bias");
  validate(s);
  return s;
}

std::vector<std::string> stops_of(const Fields& f, const char* name) {
  std::vector<std::string> stops = f.texts(name, kMostStops);
  if (std::ranges::any_of(stops, [](const std::string& text) { return text.size() > 1000; }))
    refuse(f.name(name), "'{}' has a text of more than 1000 bytes", f.name(name));
  std::erase(stops, "");
  return stops;
}

void read_own_fields(const Fields& f, Settings& s) {
  if (f.has("mode")) s.mode = f.choice("mode", "", {"dense", "exact", "sparse"});
  if (f.has("density")) {
    if (s.mode.value_or("sparse") != "sparse")
      refuse(f.name("density"), "'density' is of mode sparse, which 'mode' is not");
    s.mode = "sparse";
    s.density = std::max(1.0, std::round(100 * f.number("density", 0, 1e-4, 1))) / 100;
  }
  s.lossless = f.flag("lossless", false);
  if (s.lossless && s.mode.value_or("exact") == "sparse")
    refuse(f.name("lossless"), "'lossless' is the whole model's answer, which mode sparse is not");
  s.reuse_prompt = f.flag("cache_prompt", true);
  if (f.has("kv_policy")) s.kv_policy = f.text("kv_policy");
  if (s.lossless && s.kv_policy.value_or("none") != "none")
    refuse(f.name("kv_policy"), "'lossless' is the answer of the whole cache, which 'kv_policy' does not read");
  if (const Json* lora = f.find("lora")) {
    if (!lora->is_string() && !lora->is_array())
      refuse(f.name("lora"), "'lora' is of type {}, expected a list of {{\"id\", \"scale\"}} or a name",
             lora->type_name());
    s.lora = *lora;
  }
  s.priority = int(f.integer("priority", 0, -1000, 1000));
  s.deadline_seconds = f.number("deadline_seconds", 0, 0, 1e6);
}

Settings settings_of(const Fields& f) {
  Settings s;
  s.sampler = sampler_of(f);
  const char* limit = f.has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  if (const int64_t n = f.integer(limit, -1, -1, 1 << 30); n >= 0) s.n_tokens = size_t(n);
  if (const int64_t seed = f.integer("seed", -1, INT64_MIN, INT64_MAX); f.has("seed") && seed != -1)
    s.seed = uint64_t(seed);
  s.stop = stops_of(f, "stop");
  s.ignore_end = f.flag("ignore_eos", false);
  s.n_choices = size_t(f.integer("n", 1, 1, kMostChoices));
  s.n_candidates = size_t(f.integer("best_of", int64_t(s.n_choices), int64_t(s.n_choices), kMostCandidates));
  s.stream = f.flag("stream", false);
  if (s.stream && s.n_candidates > s.n_choices && !f.flag("use_beam_search", false))
    refuse(f.name("best_of"), "'best_of' beyond 'n' chooses when all are made: it has no stream");
  const Fields stream_options(f.object("stream_options"), "stream_options.");
  s.include_usage = stream_options.flag("include_usage", false);
  if (f.has("stream_options") && !s.stream)
    refuse(f.name("stream_options"), "'stream_options' is meant for 'stream': true");
  read_own_fields(f, s);
  s.user = f.text(f.has("safety_identifier") ? "safety_identifier" : "user");
  s.trace = f.flag("trace", false);
  if (s.trace && !s.stream) refuse(f.name("trace"), "'trace' is meant for 'stream': true");
  return s;
}

void read_beams(const Fields& f, Settings& s) {
  constexpr size_t kUsual = 4;
  if (!f.flag("use_beam_search", false)) {
    if (f.has("length_penalty"))
      refuse(f.name("length_penalty"), "'length_penalty' is meant for 'use_beam_search': true");
    return;
  }
  s.beam_width = f.has("best_of") ? s.n_candidates : std::max(s.n_choices, kUsual);
  s.n_candidates = s.n_choices;
  s.length_penalty = float(f.number("length_penalty", 1, -10, 10));
  const SamplerOptions& o = s.sampler;
  const bool is_plain = o.top_p == 1 && o.min_p == 0 && o.typical_p == 1 && o.top_k == 0 && o.frequency_penalty == 0 &&
                        o.presence_penalty == 0 && o.repeat_penalty == 1 && o.logit_bias.empty();
  if (!is_plain || (o.temperature != 0 && o.temperature != 1))
    refuse(
        f.name("use_beam_search"),
        "'use_beam_search' finds the most probable answers and draws none: 'temperature', 'top_p', 'top_k', 'min_p', "
        "'typical_p', penalties and 'logit_bias' do not go with it");
  const auto refuse_beside = [&](const char* name, bool is_asked) {
    if (is_asked) refuse(f.name(name), "'{}' does not go with 'use_beam_search'", name);
  };
  refuse_beside("lossless", s.lossless);
  refuse_beside("trace", s.trace);
  refuse_beside(f.has("top_logprobs") ? "top_logprobs" : "logprobs", s.n_top_log_probs > 0);
  refuse_beside(s.form.param.empty() ? "response_format" : s.form.param.c_str(), s.form.kind != AnswerForm::Kind::kAny);
  refuse_beside("max_tokens", s.n_tokens == size_t{0});
  refuse_beside("kv_policy", s.kv_policy.value_or("none") != "none");
}

}  // namespace hunch::serve
