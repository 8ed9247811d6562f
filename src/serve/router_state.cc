// What the server says of itself and of its models.
#include <cmath>
#include <filesystem>

#include "hunch/version.h"
#include "serve/model_choice.h"
#include "serve/page.h"
#include "serve/request_error.h"
#include "serve/router.h"

namespace hunch::serve {
namespace {

const char* word_of(ModelState::Kind kind) {
  switch (kind) {
    case ModelState::Kind::kLoading: return "loading";
    case ModelState::Kind::kLoaded: return "loaded";
    default: return "unloaded";
  }
}

int64_t modified_of(const std::filesystem::path& path) {
  std::error_code error;
  const auto time = std::filesystem::last_write_time(path, error);
  if (error) return 0;
  const auto system = std::chrono::file_clock::to_sys(time);
  return std::chrono::duration_cast<std::chrono::seconds>(system.time_since_epoch()).count();
}

std::string model_in(const HttpRequest& request) {
  const std::string name = model_choice(request.body).name;
  if (name.empty()) refuse("model", "'model' is missing, expected the name of a model");
  return name;
}

}  // namespace

// It says nothing of the models, and asks for the key where one is wanted.
void Router::page(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  reply->send(page_response(request));
}

void Router::health(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  Json json = {{"status", "ok"}};
  if (const auto name = query_value(request.query, "model"); name && is_authorised(request)) {
    const ModelState state = models_.state(*name);
    if (state.kind == ModelState::Kind::kLoading) throw RequestError(503, "Loading model", "model", "model_loading");
    json["model"] = {{"id", state.source.name}, {"status", word_of(state.kind)}};
  } else if (!models_.options().any_name) {
    size_t n_loaded = 0, n_models = 0;
    for (const ModelState& state : models_.states()) {
      ++n_models;
      n_loaded += state.kind == ModelState::Kind::kLoaded;
    }
    json["models"] = {{"known", n_models}, {"loaded", n_loaded}};
  }
  send_json(reply, json);
}

// With the fields that Anthropic's clients look for beside OpenAI's, and llama.cpp's.
Json Router::model_json(const ModelState& state) const {
  Json json = state.words.openai;
  if (json.is_null())
    json = {{"id", state.source.name},
            {"object", "model"},
            {"created", began_},
            {"owned_by", "hunch"},
            {"meta", nullptr},
            {"type", "model"},
            {"display_name", state.source.name},
            {"created_at", iso_time(began_)}};
  if (!state.source.aliases.empty()) json["aliases"] = state.source.aliases;
  json["status"] = {{"value", word_of(state.kind)}};
  if (!state.failure.empty()) json["status"].update(Json{{"failed", true}, {"message", state.failure}});
  return json;
}

void Router::list_models(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json data = Json::array();
  for (const ModelState& state : models_.states()) data.push_back(model_json(state));
  Json json = {{"object", "list"}, {"data", data}, {"has_more", false}};
  json["first_id"] = data.empty() ? Json(nullptr) : data.front()["id"];
  json["last_id"] = data.empty() ? Json(nullptr) : data.back()["id"];
  send_json(reply, json);
}

void Router::show_model(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const ModelState state = models_.state(request.rest);
  if (!state.source.is_named(request.rest))  // requests may say any name, but this asks for one
    throw RequestError(404, fmt::format("there is no model '{}', only '{}'", request.rest, state.source.name), "model",
                       "model_not_found");
  send_json(reply, model_json(state));
}

void Router::load_model(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  models_.use({model_in(request)}, Dialect::kOpenAi, reply, [](Service&, const std::shared_ptr<Reply>& own) {
    send_json(own, {{"success", true}});
  });
}

void Router::unload_model(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  models_.unload(model_in(request));
  send_json(reply, {{"success", true}});
}

// Without a name, of several models: what the server is.
void Router::props(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const ModelsOptions& o = models_.options();
  if (o.any_name || query_value(request.query, "model")) return pass_on(request, reply);
  send_json(reply, {{"role", "router"},
                    {"max_instances", o.n_most},
                    {"models_autoload", true},
                    {"mode", o.service.plan.mode},
                    {"build_info", "hunch " HUNCH_VERSION}});
}

// Nothing is loaded for this.
void Router::slots(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  Models::Use use = use_of(request);
  const ModelState state = models_.state(use.name);
  if (state.kind != ModelState::Kind::kLoaded) return send_json(reply, Json::array());
  pass_on(request, reply);
}

void Router::metrics(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const bool is_one = models_.options().any_name;
  const auto asked = query_value(request.query, "model");
  std::vector<ModelState> states;
  if (asked && !is_one)
    states.push_back(models_.state(*asked));
  else
    states = models_.states();
  std::vector<NamedMetrics> named;
  for (const ModelState& state : states)
    named.push_back({is_one ? "" : state.source.name, state.metrics.get(), state.kind == ModelState::Kind::kLoaded});
  reply->send({200, "text/plain; version=0.0.4", metrics_text(named, n_connections_)});
}

Json Router::ollama_json(const ModelState& state) const {
  Json json = state.words.ollama;
  if (json.is_null()) {
    std::error_code ignored;
    const auto& path = state.source.path;
    const bool is_file = std::filesystem::is_regular_file(path, ignored);
    json = {{"name", state.source.name},
            {"model", state.source.name},
            {"size", is_file ? std::filesystem::file_size(path, ignored) : 0},
            {"digest", ""},
            {"details", {{"parent_model", ""}, {"format", is_file ? "gguf" : "safetensors"}, {"family", ""}}}};
  }
  return json;
}

void Router::ollama_tags(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json models = Json::array();
  for (const ModelState& state : models_.states()) {
    Json json = ollama_json(state);
    json.erase("context_length");
    json["modified_at"] = iso_time(modified_of(state.source.path));
    models.push_back(std::move(json));
  }
  send_json(reply, {{"models", models}});
}

// A model that stays expires in the last year that clients are sure to read.
void Router::ollama_ps(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  Json models = Json::array();
  for (const ModelState& state : models_.states()) {
    if (state.kind != ModelState::Kind::kLoaded) continue;
    Json json = ollama_json(state);
    json["expires_at"] = state.idle_seconds < 0 ? "2318-01-01T00:00:00Z"
                                                : iso_time(now_seconds() + int64_t(std::ceil(state.idle_seconds)));
    json["size_vram"] = 0;
    models.push_back(std::move(json));
  }
  send_json(reply, {{"models", models}});
}

void Router::ollama_version(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  send_json(reply, {{"version", HUNCH_VERSION}});
}

void Router::ollama_refuse(const HttpRequest&, const std::shared_ptr<Reply>&) {
  throw RequestError(501,
                     "this server has the models that it was started with: `hunch pull` and `hunch rm` manage "
                     "models");
}

void Router::show_response(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const std::optional<Json> found = responses_.response(request.rest);
  if (!found) throw response_not_found(request.rest);
  send_json(reply, *found);
}

void Router::forget_response(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  if (!responses_.forget(request.rest)) throw response_not_found(request.rest);
  send_json(reply, {{"id", request.rest}, {"object", "response.deleted"}, {"deleted", true}});
}

}  // namespace hunch::serve
