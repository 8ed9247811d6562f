#include "serve/router.h"

#include "serve/model_choice.h"
#include "serve/ollama_answer.h"
#include "serve/ollama_request.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

// In a time that says nothing of where they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i) difference |= uint8_t(a[i]) ^ uint8_t(b.empty() ? 0 : b[i % b.size()]);
  return difference == 0;
}

// Whether a model that is not loaded is loaded for this request; llama.cpp's clients say so.
bool loads(const HttpRequest& request) {
  const std::string value = query_value(request.query, "autoload").value_or("true");
  return value != "false" && value != "0";
}

}  // namespace

Router::Router(Models& models, StoredResponses& responses, const std::atomic<size_t>& n_connections,
               const RouterOptions& options)
    : models_(models), responses_(responses), n_connections_(n_connections), options_(options), began_(now_seconds()) {}

const std::vector<Router::Route>& Router::routes() {
  static const std::vector<Route> all = {
      {{"GET", "/", true}, &Router::page},
      {{"GET", "/page.js", true}, &Router::page},
      {{"GET", "/page.css", true}, &Router::page},
      {{"GET", "/health", true}, &Router::health},
      {{"GET", "/v1/models"}, &Router::list_models},
      {{"GET", "/v1/models/*"}, &Router::show_model},
      {{"GET", "/models"}, &Router::list_models},
      {{"POST", "/models/load"}, &Router::load_model},
      {{"POST", "/models/unload"}, &Router::unload_model},
      {{"GET", "/props"}, &Router::props},
      {{"GET", "/slots"}, &Router::slots},
      {{"GET", "/metrics"}, &Router::metrics},
      {{"GET", "/v1/responses/*"}, &Router::show_response},
      {{"DELETE", "/v1/responses/*"}, &Router::forget_response},
      {{"GET", "/api/tags"}, &Router::ollama_tags},
      {{"GET", "/api/ps"}, &Router::ollama_ps},
      {{"GET", "/api/version"}, &Router::ollama_version},
      {{"POST", "/api/pull"}, &Router::ollama_refuse},
      {{"POST", "/api/push"}, &Router::ollama_refuse},
      {{"POST", "/api/create"}, &Router::ollama_refuse},
      {{"POST", "/api/copy"}, &Router::ollama_refuse},
      {{"DELETE", "/api/delete"}, &Router::ollama_refuse},
      {{"POST", "/api/blobs/*"}, &Router::ollama_refuse},
  };
  return all;
}

bool Router::is_authorised(const HttpRequest& request) const {
  return options_.api_key.empty() || equal_in_constant_time(request.authorization, "Bearer " + options_.api_key);
}

std::unique_ptr<HttpResponse> Router::check(const HttpRequest& request) const {
  const auto refused = [&](int status, const std::string& message, const char* code) {
    return std::make_unique<HttpResponse>(refusal(request, RequestError(status, message, {}, code)));
  };
  if (const std::string wrong = options_.access.refusal(request); !wrong.empty())
    return refused(403, wrong, "forbidden");
  if (request.method == "OPTIONS" && options_.access.allows_origin(request.origin))  // a browser asks whether it may
    return std::make_unique<HttpResponse>();
  std::string allowed;
  const RoutePattern* route = route_of(routes(), request, allowed);
  if (!route) route = Service::route_of(request, allowed);
  if ((!route || !route->open) && !is_authorised(request))
    return refused(401, "the API key is missing or wrong", "invalid_api_key");
  if (route) return nullptr;
  if (allowed.empty()) return refused(404, "this server has no such path", "not_found");
  auto response = refused(405, fmt::format("this path is asked for by {}", allowed), "method_not_allowed");
  response->headers.emplace_back("Allow", allowed);
  return response;
}

HttpResponse Router::refusal(const HttpRequest& request, const RequestError& error) {
  return error_response(error, dialect_of(request.path));
}

void Router::answer(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  const std::string path = request.path;
  try {
    std::string allowed;
    const Route* const route = route_of(routes(), request, allowed);
    if (!route) return pass_on(std::move(request), reply);
    request.rest = rest_of(*route, request.path);
    (this->*route->call)(request, reply);
  } catch (const std::exception& e) {
    reply->note("error", std::string(e.what()).substr(0, 300));
    reply->send(error_response(as_request_error(std::current_exception()), dialect_of(path)));
  }
}

// The model that the query names, or else the body, which is only looked at where that matters.
Models::Use Router::use_of(const HttpRequest& request) const {
  Models::Use use;
  use.n_bytes = request.body.size();
  use.loads = loads(request);
  const ModelsOptions& o = models_.options();
  const bool may_keep = o.may_unload && dialect_of(request.path) == Dialect::kOllama;
  if (!request.body.empty() && (!o.any_name || may_keep)) {
    const ModelChoice choice = model_choice(request.body);
    use.name = choice.name;
    if (may_keep) use.keep_seconds = choice.keep_seconds;
  }
  if (const auto name = query_value(request.query, "model")) use.name = *name;
  return use;
}

// Ollama's way to say that a model may go: nothing is asked, and it is to stay for no time.
bool Router::only_unloads(const HttpRequest& request, const Models::Use& use, const std::shared_ptr<Reply>& reply) {
  if (use.keep_seconds != 0.0) return false;
  const bool chats = request.path == "/api/chat";
  if (!chats && request.path != "/api/generate") return false;
  if (!(chats ? ollama_chat_request(request.body) : ollama_generate_request(request.body)).only_loads) return false;
  models_.unload(use.name);
  send_json(reply, ollama_load_json(models_.state(use.name).source.name, chats, "unload"));
  return true;
}

void Router::pass_on(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  const Models::Use use = use_of(request);
  if (only_unloads(request, use, reply)) return;
  const Dialect dialect = dialect_of(request.path);
  const auto shared = std::make_shared<HttpRequest>(std::move(request));  // calls are copied
  models_.use(use, dialect, reply, [shared](Service& service, const std::shared_ptr<Reply>& own) {
    service.answer(std::move(*shared), own);
  });
}

}  // namespace hunch::serve
