#include "serve/service.h"

#include <chrono>
#include <ctime>

#include "base/error.h"
#include "serve/request_error.h"

namespace hunch::serve {

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

Service::Service(Engine& engine, const ServiceOptions& options, Metrics& metrics, StoredResponses& responses)
    : engine_(engine),
      options_(options),
      began_(now_seconds()),
      metrics_(metrics),
      plans_(engine, options.plan),
      adapters_(engine, options.adapters),
      grammars_(engine.tokenizer ? &*engine.tokenizer : nullptr),
      responses_(responses) {
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
      {{"GET", "/props"}, &Service::props},
      {{"GET", "/slots"}, &Service::slots},
      {{"GET", "/lora-adapters"}, &Service::lora_adapters},
      {{"POST", "/lora-adapters"}, &Service::set_lora_adapters},
      {{"POST", "/v1/completions"}, &Service::complete},
      {{"POST", "/completion"}, &Service::complete_natively},
      {{"POST", "/v1/chat/completions"}, &Service::chat},
      {{"POST", "/chat/completions"}, &Service::chat},
      {{"POST", "/v1/messages"}, &Service::anthropic_message},
      {{"POST", "/v1/messages/count_tokens"}, &Service::anthropic_count},
      {{"POST", "/v1/responses"}, &Service::respond},
      {{"POST", "/api/chat"}, &Service::ollama_chat},
      {{"POST", "/api/generate"}, &Service::ollama_generate},
      {{"POST", "/api/embed"}, &Service::ollama_embed},
      {{"POST", "/api/embeddings"}, &Service::ollama_embeddings},
      {{"POST", "/api/show"}, &Service::ollama_show},
      {{"POST", "/v1/embeddings"}, &Service::embed},
      {{"POST", "/embeddings"}, &Service::embed},
      {{"POST", "/v1/rerank"}, &Service::rerank},
      {{"POST", "/rerank"}, &Service::rerank},
      {{"POST", "/tokenize"}, &Service::tokenize},
      {{"POST", "/detokenize"}, &Service::detokenize},
      {{"GET", "/tokenizer_info"}, &Service::tokenizer_info},
      {{"POST", "/apply-template"}, &Service::apply_template},
  };
  return all;
}

const RoutePattern* Service::route_of(const HttpRequest& request, std::string& allowed) {
  return serve::route_of(routes(), request, allowed);
}

void Service::answer(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  try {
    std::string allowed;
    const Route* const route = serve::route_of(routes(), request, allowed);
    if (!route) throw RequestError(404, "this server has no such path");
    request.rest = rest_of(*route, request.path);
    (this->*route->call)(request, reply);
  } catch (const std::exception& e) {
    reply->note("error", std::string(e.what()).substr(0, 300));
    reply->send(error_response(as_request_error(std::current_exception()), dialect_of(request.path)));
  }
}

}  // namespace hunch::serve
