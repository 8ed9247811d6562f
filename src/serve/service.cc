#include "serve/service.h"

#include <charconv>
#include <chrono>
#include <ctime>

#include "base/error.h"
#include "serve/request_error.h"

namespace hunch::serve {
namespace {

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    uint8_t byte = 0;
    const bool is_code = text[i] == '%' && i + 2 < text.size() &&
                         std::from_chars(&text[i + 1], &text[i + 1] + 2, byte, 16).ptr == &text[i + 1] + 2;
    out += is_code ? char(byte) : text[i];
    if (is_code) i += 2;
  }
  return out;
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

std::string iso_time(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

Service::Service(Engine& engine, const ServiceOptions& options)
    : engine_(engine),
      options_(options),
      began_(now_seconds()),
      plans_(engine, options.plan),
      adapters_(engine, options.adapters),
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
      {"GET", "/", &Service::page, true},
      {"GET", "/page.js", &Service::page, true},
      {"GET", "/page.css", &Service::page, true},
      {"GET", "/health", &Service::health, true},
      {"GET", "/v1/models", &Service::models},
      {"GET", "/v1/models/*", &Service::model},
      {"GET", "/models", &Service::models},
      {"GET", "/props", &Service::props},
      {"GET", "/metrics", &Service::show_metrics},
      {"GET", "/slots", &Service::slots},
      {"GET", "/lora-adapters", &Service::lora_adapters},
      {"POST", "/lora-adapters", &Service::set_lora_adapters},
      {"POST", "/v1/completions", &Service::complete},
      {"POST", "/v1/chat/completions", &Service::chat},
      {"POST", "/chat/completions", &Service::chat},
      {"POST", "/v1/messages", &Service::anthropic_message},
      {"POST", "/v1/messages/count_tokens", &Service::anthropic_count},
      {"POST", "/v1/responses", &Service::respond},
      {"GET", "/v1/responses/*", &Service::show_response},
      {"DELETE", "/v1/responses/*", &Service::forget_response},
      {"POST", "/api/chat", &Service::ollama_chat},
      {"POST", "/api/generate", &Service::ollama_generate},
      {"POST", "/api/embed", &Service::ollama_embed},
      {"POST", "/api/embeddings", &Service::ollama_embeddings},
      {"GET", "/api/tags", &Service::ollama_tags},
      {"GET", "/api/ps", &Service::ollama_ps},
      {"POST", "/api/show", &Service::ollama_show},
      {"GET", "/api/version", &Service::ollama_version},
      {"POST", "/api/pull", &Service::ollama_refuse},
      {"POST", "/api/push", &Service::ollama_refuse},
      {"POST", "/api/create", &Service::ollama_refuse},
      {"POST", "/api/copy", &Service::ollama_refuse},
      {"DELETE", "/api/delete", &Service::ollama_refuse},
      {"POST", "/api/blobs/*", &Service::ollama_refuse},
      {"POST", "/v1/embeddings", &Service::embed},
      {"POST", "/embeddings", &Service::embed},
      {"POST", "/v1/rerank", &Service::rerank},
      {"POST", "/rerank", &Service::rerank},
      {"POST", "/tokenize", &Service::tokenize},
      {"POST", "/detokenize", &Service::detokenize},
      {"GET", "/tokenizer_info", &Service::tokenizer_info},
      {"POST", "/apply-template", &Service::apply_template},
  };
  return all;
}

bool Service::is_authorised(const HttpRequest& request) const {
  return options_.api_key.empty() || equal_in_constant_time(request.authorization, "Bearer " + options_.api_key);
}

const Service::Route* Service::route_of(const HttpRequest& request, std::string& allowed) {
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : request.method;
  for (const Route& route : routes()) {
    const std::string_view path = route.path;
    const bool is_pattern = path.ends_with('*');
    if (is_pattern ? request.path.size() < path.size() || !request.path.starts_with(path.substr(0, path.size() - 1))
                   : request.path != path)
      continue;
    if (method == route.method) return &route;
    if (!allowed.empty()) allowed += ", ";
    allowed += route.method;
  }
  return nullptr;
}

std::unique_ptr<HttpResponse> Service::check(const HttpRequest& request) const {
  const auto refused = [&](int status, const std::string& message, const char* code) {
    return std::make_unique<HttpResponse>(refusal(request, RequestError(status, message, {}, code)));
  };
  if (const std::string wrong = options_.access.refusal(request); !wrong.empty())
    return refused(403, wrong, "forbidden");
  if (request.method == "OPTIONS" && options_.access.allows_origin(request.origin))  // a browser asks whether it may
    return std::make_unique<HttpResponse>();
  std::string allowed;
  const Route* const route = route_of(request, allowed);
  if ((!route || !route->open) && !is_authorised(request))
    return refused(401, "the API key is missing or wrong", "invalid_api_key");
  if (route) return nullptr;
  if (allowed.empty()) return refused(404, "this server has no such path", "not_found");
  auto response = refused(405, fmt::format("this path is asked for by {}", allowed), "method_not_allowed");
  response->headers.emplace_back("Allow", allowed);
  return response;
}

HttpResponse Service::refusal(const HttpRequest& request, const RequestError& error) {
  return error_response(error, dialect_of(request.path));
}

void Service::answer(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  try {
    std::string allowed;
    const Route* const route = route_of(request, allowed);
    if (!route) throw RequestError(404, "this server has no such path");
    if (const std::string_view path = route->path; path.ends_with('*'))
      request.rest = percent_decoded(std::string_view(request.path).substr(path.size() - 1));
    (this->*route->call)(request, reply);
  } catch (const std::exception& e) {
    reply->note("error", std::string(e.what()).substr(0, 300));
    reply->send(refusal(request, as_request_error(std::current_exception())));
  }
}

}  // namespace hunch::serve
