// What of the routes a model answers: between HTTP and the scheduler, and without sockets. serve/router.h has the
// others.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/hidden_states.h"
#include "serve/adapters.h"
#include "serve/chat_parts.h"
#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/grammars.h"
#include "serve/http.h"
#include "serve/ollama_request.h"
#include "serve/openai_answer.h"
#include "serve/plans.h"
#include "serve/routes.h"
#include "serve/scheduler.h"
#include "serve/stored_responses.h"
#include "serve/text_requests.h"
#include "text/chat_text.h"
#include "text/thinking.h"
#include "text/tool_template.h"

namespace hunch::serve {

struct ServiceOptions {
  SchedulerOptions scheduler;
  std::string model_name;               // as answers and /v1/models say it
  std::string template_file;            // as chat_text()'s
  Plans::Choice plan;                   // of requests that say nothing of it
  std::vector<AdapterSource> adapters;  // that requests may choose from; at these scales, of those that say nothing
  bool shows_prompts = false;           // in /slots
  bool deterministic = false;           // every answer has the bits that it has alone (GenerateOptions::as_alone)
};

// What a model says of itself, while it is loaded and later.
struct ModelWords {
  Json openai = {}, ollama = {};  // an entry of /v1/models, of /api/tags
};

class Service {
 public:
  // The references outlive it. Throws as Scheduler, Plans, Adapters and chat_text() for a template file.
  Service(Engine& engine, const ServiceOptions& options, Metrics& metrics, StoredResponses& responses);
  ~Service();

  // Any thread's. Answers errors itself.
  void answer(HttpRequest request, const std::shared_ptr<Reply>& reply);
  // Route::path, as route_of() of routes.h.
  static const RoutePattern* route_of(const HttpRequest& request, std::string& allowed);

  ModelWords words() const { return {model_json(), ollama_model()}; }
  Scheduler& scheduler() const { return *scheduler_; }
  const Engine& engine() const { return engine_; }
  // Ends all jobs; from now on nothing may be asked.
  void close() { scheduler_.reset(); }

 private:
  using Call = void (Service::*)(const HttpRequest&, const std::shared_ptr<Reply>&);
  struct Route : RoutePattern {
    Call call;
  };
  static const std::vector<Route>& routes();

  // service_generate.cc
  void complete(const HttpRequest&, const std::shared_ptr<Reply>&);
  void chat(const HttpRequest&, const std::shared_ptr<Reply>&);
  OpenAiAnswer::About about(const char* id_prefix, const Settings& settings, size_t n_prompts) const;
  std::shared_ptr<Job> job_of(std::vector<int32_t> prompt, const Settings& settings, size_t n_tokens, uint64_t seed);
  std::vector<int32_t> ids_of(const Prompt& prompt, const char* param) const;
  const ChatText& need_chat_text() const;
  // The text that the model sees of a conversation; throws RequestError{400} where the template refuses it.
  std::string render(const Json& messages, const Json& variables, const ToolSettings& tools,
                     bool add_generation_prompt = true) const;
  // What tells the parts of an answer to it apart, and the control tokens that this needs to see.
  ChatSplitter splitter(const std::string& rendered, const ToolSettings& tools) const;
  std::vector<int32_t> shown(const ToolSettings& tools) const;
  // What the answer must be: of the form that is asked for, or calls where they are forced
  // (GenerateOptions::constraint).
  Grammars::Make constraint(const std::string& rendered, const AnswerForm& form, const ToolSettings& tools);
  struct Conversation {  // as the model reads it
    std::string rendered;
    std::vector<int32_t> ids;
  };
  Conversation conversation_of(const ChatRequest& request) const;
  static void join_beams(std::span<const std::shared_ptr<Job>> jobs, const Settings& settings);
  std::vector<std::shared_ptr<Job>> chat_jobs(const ChatRequest& request, const Conversation& conversation);
  void start(std::vector<std::shared_ptr<Job>> jobs, AnswerWriter& writer, const Settings& settings,
             const char* param = "messages");
  static std::string new_id(std::string_view prefix);
  // service_native.cc
  void complete_natively(const HttpRequest&, const std::shared_ptr<Reply>&);
  // service_anthropic.cc
  void anthropic_message(const HttpRequest&, const std::shared_ptr<Reply>&);
  void anthropic_count(const HttpRequest&, const std::shared_ptr<Reply>&);
  // service_responses.cc
  void respond(const HttpRequest&, const std::shared_ptr<Reply>&);
  // service_ollama.cc
  void ollama_chat(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_generate(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_embed(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_embeddings(const HttpRequest&, const std::shared_ptr<Reply>&);
  void ollama_show(const HttpRequest&, const std::shared_ptr<Reply>&);
  Json ollama_model() const;
  std::vector<TextToRead> texts_to_read(const OllamaEmbedRequest& request) const;
  // service_texts.cc
  void read(const std::shared_ptr<Reply>& reply, Dialect dialect, std::vector<TextToRead> texts,
            std::function<void(size_t, MatView<const float>)> each, std::function<Json()> done);
  // Vectors of length 1 as the model pools them, as JSON lists; then done(), given them and the tokens read.
  void read_vectors(const std::shared_ptr<Reply>& reply, Dialect dialect, std::vector<TextToRead> texts,
                    std::function<Json(std::vector<std::vector<float>>&, size_t)> done);
  void embed(const HttpRequest&, const std::shared_ptr<Reply>&);
  void rerank(const HttpRequest&, const std::shared_ptr<Reply>&);
  void tokenize(const HttpRequest&, const std::shared_ptr<Reply>&);
  void detokenize(const HttpRequest&, const std::shared_ptr<Reply>&);
  void tokenizer_info(const HttpRequest&, const std::shared_ptr<Reply>&);
  void apply_template(const HttpRequest&, const std::shared_ptr<Reply>&);
  // service_state.cc
  Json model_json() const;
  void props(const HttpRequest&, const std::shared_ptr<Reply>&);
  void slots(const HttpRequest&, const std::shared_ptr<Reply>&);
  void lora_adapters(const HttpRequest&, const std::shared_ptr<Reply>&);
  void set_lora_adapters(const HttpRequest&, const std::shared_ptr<Reply>&);

  const Engine& engine_;
  const ServiceOptions options_;
  const int64_t began_;  // seconds since 1970
  Metrics& metrics_;
  Plans plans_;
  Adapters adapters_;
  Grammars grammars_;
  std::optional<ChatText> chat_text_;  // none: the model has no template
  const ThinkingTags* tags_ = nullptr;
  ToolTemplate tool_template_;
  // Control tokens that the tags are made of, and those that calls of tools are.
  std::vector<int32_t> shown_, shown_of_calls_;
  StoredResponses& responses_;
  std::unique_ptr<Scheduler> scheduler_;
};

// A whole answer.
void send_json(const std::shared_ptr<Reply>& reply, const Json& json);
// Seconds since 1970.
int64_t now_seconds();
// "2026-11-28T12:00:00Z".
std::string iso_time(int64_t seconds);

}  // namespace hunch::serve
