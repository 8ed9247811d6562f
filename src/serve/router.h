// Which model a request is for, and the routes that are of no model or of all: between HTTP and the models' services.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "serve/access.h"
#include "serve/http.h"
#include "serve/models.h"
#include "serve/routes.h"
#include "serve/stored_responses.h"

namespace hunch::serve {

struct RouterOptions {
  std::string api_key;  // empty: anybody may ask
  Access access = {};
};

class Router {
 public:
  // The references outlive it.
  Router(Models& models, StoredResponses& responses, const std::atomic<size_t>& n_connections,
         const RouterOptions& options);

  // What HttpHandler asks for; any thread. answer() answers errors itself.
  std::unique_ptr<HttpResponse> check(const HttpRequest& request) const;
  void answer(HttpRequest request, const std::shared_ptr<Reply>& reply);
  // An error in the form of the API that the path is of.
  static HttpResponse refusal(const HttpRequest& request, const RequestError& error);

 private:
  using Call = void (Router::*)(const HttpRequest&, const std::shared_ptr<Reply>&);
  struct Route : RoutePattern {
    Call call;
  };
  static const std::vector<Route>& routes();
  bool is_authorised(const HttpRequest& request) const;
  Models::Use use_of(const HttpRequest& request) const;
  void pass_on(HttpRequest request, const std::shared_ptr<Reply>& reply);
  bool only_unloads(const HttpRequest& request, const Models::Use& use, const std::shared_ptr<Reply>& reply);

  // router_state.cc
  void page(const HttpRequest&, const std::shared_ptr<Reply>&);
  void health(const HttpRequest&, const std::shared_ptr<Reply>&);
  void list_models(const HttpRequest&, const std::shared_ptr<Reply>&);
  void show_model(const HttpRequest&, const std::shared_ptr<Reply>&);
  void load_model(const HttpRequest&, const std::shared_ptr<Reply>&);
  void unload_model(const HttpRequest&, const std::shared_ptr<Reply>&);
  void props(const HttpRequest&, const std::shared_ptr<Reply>&);
  void slots(const HttpRequest&, const std::shared_ptr<Reply>&);
  void metrics(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_tags(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_ps(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_version(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_refuse(const HttpRequest&, const std::shared_ptr<Reply>&);
  void show_response(const HttpRequest&, const std::shared_ptr<Reply>&);
  void forget_response(const HttpRequest&, const std::shared_ptr<Reply>&);
  Json model_json(const ModelState& state) const;
  Json ollama_json(const ModelState& state) const;

  Models& models_;
  StoredResponses& responses_;
  const std::atomic<size_t>& n_connections_;
  const RouterOptions options_;
  const int64_t began_;  // seconds since 1970
};

}  // namespace hunch::serve
