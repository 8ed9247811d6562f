#include "serve/service.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

HttpResponse response_of(const RequestError& error) {
  HttpResponse response{error.status()};
  response.body = dump(error.json());
  if (error.status() == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (error.status() == 429) response.headers.emplace_back("Retry-After", "1");
  if (error.status() == 503) response.headers.emplace_back("Retry-After", "10");
  return response;
}

// In a time that says nothing of where they differ.
bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() != b.size();
  for (size_t i = 0; i < a.size(); ++i) difference |= uint8_t(a[i]) ^ uint8_t(b.empty() ? 0 : b[i % b.size()]);
  return difference == 0;
}

}  // namespace

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Service::Service(const Engine& engine, const ServiceOptions& options)
    : engine_(engine),
      options_(options),
      began_(now_seconds()),
      plans_(engine, options.mode, options.density),
      grammars_(engine.tokenizer ? &*engine.tokenizer : nullptr) {
  const Tokenizer* tokenizer = engine.tokenizer ? &*engine.tokenizer : nullptr;
  try {
    chat_text_ = chat_text(tokenizer, options.template_file);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kNotFound || !options.template_file.empty()) throw;
  }
  if (chat_text_) {
    tags_ = &thinking_tags(chat_text_->source);
    std::vector<std::string_view> marks = {tags_->open, tags_->close, tags_->end};
    marks.insert(marks.end(), tags_->answer.begin(), tags_->answer.end());
    const auto control_tokens = [&](const std::vector<std::string_view>& texts) {
      std::vector<int32_t> out;
      for (const std::string_view text : texts)
        for (const int32_t id : engine.need_tokenizer().encode(text, {false, true}))
          if (tokenizer->is_control(id)) out.push_back(id);
      return out;
    };
    shown_ = control_tokens(marks);
    tool_template_ = tool_template(*chat_text_);
    shown_of_calls_ = control_tokens(marks_of(*tool_template_.syntax));
  }
  scheduler_ = std::make_unique<Scheduler>(engine, options.scheduler, metrics_);
}

Service::~Service() = default;

const std::vector<Service::Route>& Service::routes() {
  static const std::vector<Route> all = {
      {"GET", "/health", &Service::health, true},
      {"GET", "/v1/models", &Service::models},
      {"GET", "/models", &Service::models},
      {"GET", "/props", &Service::props},
      {"GET", "/metrics", &Service::show_metrics},
      {"POST", "/v1/completions", &Service::complete},
      {"POST", "/v1/chat/completions", &Service::chat},
      {"POST", "/chat/completions", &Service::chat},
      {"POST", "/v1/embeddings", &Service::embed},
      {"POST", "/embeddings", &Service::embed},
      {"POST", "/v1/rerank", &Service::rerank},
      {"POST", "/rerank", &Service::rerank},
      {"POST", "/tokenize", &Service::tokenize},
      {"POST", "/detokenize", &Service::detokenize},
      {"POST", "/apply-template", &Service::apply_template},
  };
  return all;
}

bool Service::is_authorised(const HttpRequest& request) const {
  return options_.api_key.empty() || equal_in_constant_time(request.authorization, "Bearer " + options_.api_key);
}

std::unique_ptr<HttpResponse> Service::check(const HttpRequest& request) const {
  const auto refused = [](int status, const std::string& message, const char* code) {
    return std::make_unique<HttpResponse>(response_of(RequestError(status, message, {}, code)));
  };
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  std::string allowed;
  for (const Route& route : routes()) {
    if (request.path != route.path) continue;
    if (!route.open && !is_authorised(request))
      return refused(401, "the API key is missing or wrong", "invalid_api_key");
    if (method == route.method) return nullptr;
    allowed = route.method;
  }
  if (!is_authorised(request)) return refused(401, "the API key is missing or wrong", "invalid_api_key");
  if (allowed.empty()) return refused(404, "this server has no such path", "not_found");
  auto response = refused(405, fmt::format("this path is asked for by {}", allowed), "method_not_allowed");
  response->headers.emplace_back("Allow", allowed);
  return response;
}

void Service::answer(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  try {
    const std::string method = request.method == "HEAD" ? "GET" : request.method;
    const auto route =
        std::ranges::find_if(routes(), [&](const Route& r) { return request.path == r.path && method == r.method; });
    if (route == routes().end()) throw RequestError(404, "this server has no such path");
    (this->*route->call)(request, reply);
  } catch (const std::exception& e) {
    reply->note("error", std::string(e.what()).substr(0, 300));
    reply->send(response_of(as_request_error(std::current_exception())));
  }
}

}  // namespace hunch::serve
