// What the server says of itself.
#include "formats/format.h"
#include "hunch/version.h"
#include "serve/request_error.h"
#include "serve/service.h"

namespace hunch::serve {
namespace {

void send_json(const std::shared_ptr<Reply>& reply, const Json& json) {
  reply->send({200, "application/json", dump(json)});
}

}  // namespace

void Service::health(const HttpRequest&, const std::shared_ptr<Reply>& reply) { send_json(reply, {{"status", "ok"}}); }

// With the fields that Anthropic's clients look for beside OpenAI's.
Json Service::model_json() const {
  const ModelConfig& c = engine_.config();
  const Json meta = {{"arch", c.arch},
                     {"n_vocab", c.n_vocab},
                     {"n_ctx", scheduler_->n_ctx()},
                     {"n_ctx_train", c.n_ctx_train},
                     {"n_embd", c.n_embd},
                     {"n_params", engine_.model->weights().n_params}};
  return {{"id", options_.model_name}, {"object", "model"},         {"created", began_},
          {"owned_by", "hunch"},       {"meta", meta},              {"type", "model"},
          {"display_name", options_.model_name}, {"created_at", iso_time(began_)}};
}

void Service::models(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  send_json(reply, {{"object", "list"},
                    {"data", Json::array({model_json()})},
                    {"has_more", false},
                    {"first_id", options_.model_name},
                    {"last_id", options_.model_name}});
}

void Service::model(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  if (request.rest != options_.model_name)
    throw RequestError(404, fmt::format("there is no model '{}', only '{}'", request.rest, options_.model_name), "model",
                       "model_not_found");
  send_json(reply, model_json());
}

void Service::props(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json json = {{"model_alias", options_.model_name},
               {"total_slots", scheduler_->n_parallel()},
               {"default_generation_settings", {{"n_ctx", scheduler_->n_ctx()}}},
               {"mode", options_.mode},
               {"has_sidecar", bool(engine_.sidecar)},
               {"kv_cache_bytes", scheduler_->kv_bytes()},
               {"chat_template", chat_text_ ? chat_text_->source : ""},
               {"bos_token", chat_text_ ? chat_text_->options.bos_token : ""},
               {"eos_token", chat_text_ ? chat_text_->options.eos_token : ""},
               {"build_info", "hunch " HUNCH_VERSION}};
  send_json(reply, json);
}

void Service::show_metrics(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  reply->send({200, "text/plain; version=0.0.4", metrics_.text()});
}

}  // namespace hunch::serve
