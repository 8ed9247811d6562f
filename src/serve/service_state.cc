// What a model says of itself.
#include <algorithm>
#include <cmath>

#include "formats/format.h"
#include "hunch/version.h"
#include "serve/request_error.h"
#include "serve/service.h"

namespace hunch::serve {

void send_json(const std::shared_ptr<Reply>& reply, const Json& json) {
  reply->send({200, "application/json", dump(json)});
}

// With the fields that Anthropic's clients look for beside OpenAI's.
Json Service::model_json() const {
  const ModelConfig& c = engine_.config();
  const Json meta = {{"arch", c.arch},
                     {"n_vocab", c.n_vocab},
                     {"n_ctx", scheduler_->n_ctx()},
                     {"n_ctx_train", c.n_ctx_train},
                     {"n_embd", c.n_embd},
                     {"n_params", engine_.model->weights().n_params}};
  return {{"id", options_.model_name},
          {"object", "model"},
          {"created", began_},
          {"owned_by", "hunch"},
          {"meta", meta},
          {"type", "model"},
          {"display_name", options_.model_name},
          {"created_at", iso_time(began_)}};
}

void Service::props(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json json = {{"model_alias", options_.model_name},
               {"total_slots", scheduler_->n_parallel()},
               {"default_generation_settings", {{"n_ctx", scheduler_->n_ctx()}}},
               {"mode", options_.plan.mode},
               {"has_sidecar", bool(engine_.sidecar)},
               {"kv_cache_bytes", scheduler_->kv_bytes()},
               {"chat_template", chat_text_ ? chat_text_->source : ""},
               {"bos_token", chat_text_ ? chat_text_->options.bos_token : ""},
               {"eos_token", chat_text_ ? chat_text_->options.eos_token : ""},
               {"build_info", "hunch " HUNCH_VERSION}};
  send_json(reply, json);
}

// Of each answer in the making, as llama.cpp's; what it was asked only where the server was started with
// --slots-prompts.
void Service::slots(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json out = Json::array();
  for (const Scheduler::Slot& slot : scheduler_->slots()) {
    Json json = {{"id", out.size()}, {"n_ctx", scheduler_->n_ctx()}, {"is_processing", bool(slot.job)}};
    if (slot.job) {
      const Job& job = *slot.job;
      json["speculative"] = job.drafts;
      json["n_prompt_tokens"] = job.prompt.size();
      json["n_prompt_tokens_processed"] = std::min(slot.n_read, job.prompt.size());
      json["next_token"] =
          Json::array({{{"n_decoded", slot.n_generated},
                        {"n_remain", job.options.n_tokens - std::min(job.options.n_tokens, slot.n_generated)}}});
      json["mode"] = job.plan ? job.plan->name : "dense";
      json["adapter"] = job.adapter ? Json(job.adapter->name) : Json(nullptr);
      json["seconds"] = std::round(1e3 * slot.seconds) / 1e3;
      if (options_.shows_prompts) json["prompt"] = engine_.need_tokenizer().decode(job.prompt);
    }
    out.push_back(std::move(json));
  }
  send_json(reply, out);
}

void Service::lora_adapters(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  send_json(reply, adapters_.shown());
}

void Service::set_lora_adapters(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const Scales scales = adapters_.read(parse_value(request.body), "lora-adapters");
  scheduler_->submit(Scheduler::Task{[this, reply, scales] {
    try {
      adapters_.load(scales);
      adapters_.set_default(scales);
      send_json(reply, {{"success", true}});
    } catch (...) {
      reply->send(error_response(as_request_error(std::current_exception()), Dialect::kOpenAi));
    }
    return false;
  }});
}

}  // namespace hunch::serve
