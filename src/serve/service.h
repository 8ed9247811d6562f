// The routes and what answers them: between HTTP and the scheduler, and without sockets.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "serve/answer_writer.h"
#include "serve/chat_parts.h"
#include "serve/chat_request.h"
#include "serve/completion_request.h"
#include "serve/grammars.h"
#include "serve/http.h"
#include "serve/plans.h"
#include "serve/scheduler.h"
#include "serve/text_requests.h"
#include "text/chat_text.h"
#include "text/thinking.h"
#include "text/tool_template.h"

namespace hunch::serve {

struct ServiceOptions {
  SchedulerOptions scheduler;
  std::string model_name;      // as answers and /v1/models say it
  std::string api_key;         // empty: anybody may ask
  std::string template_file;   // as chat_text()'s
  std::string mode = "exact";  // of requests that name none
  double density = 0;          // of sparse mode
  bool deterministic = false;  // every answer has the bits that it has alone (GenerateOptions::as_alone)
};

class Service {
 public:
  // The engine outlives it. Throws as Scheduler, Plans and chat_text() for a template file.
  Service(const Engine& engine, const ServiceOptions& options);
  ~Service();

  // What HttpHandler asks for; any thread. answer() answers errors itself.
  std::unique_ptr<HttpResponse> check(const HttpRequest& request) const;
  void answer(const HttpRequest& request, const std::shared_ptr<Reply>& reply);

  Metrics& metrics() { return metrics_; }
  Scheduler& scheduler() { return *scheduler_; }
  // Ends all jobs; from now on nothing may be asked.
  void close() { scheduler_.reset(); }

 private:
  using Call = void (Service::*)(const HttpRequest&, const std::shared_ptr<Reply>&);
  struct Route {
    const char *method, *path;
    Call call;
    bool open = false;  // to everybody, without a key
  };
  static const std::vector<Route>& routes();
  bool is_authorised(const HttpRequest& request) const;

  // service_generate.cc
  void complete(const HttpRequest&, const std::shared_ptr<Reply>&);
  void chat(const HttpRequest&, const std::shared_ptr<Reply>&);
  AnswerWriter::About about(const char* id_prefix, const Settings& settings, size_t n_prompts) const;
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
  // service_texts.cc
  void embed(const HttpRequest&, const std::shared_ptr<Reply>&);
  void rerank(const HttpRequest&, const std::shared_ptr<Reply>&);
  void tokenize(const HttpRequest&, const std::shared_ptr<Reply>&);
  void detokenize(const HttpRequest&, const std::shared_ptr<Reply>&);
  void apply_template(const HttpRequest&, const std::shared_ptr<Reply>&);
  // service_state.cc
  void health(const HttpRequest&, const std::shared_ptr<Reply>&);
  void models(const HttpRequest&, const std::shared_ptr<Reply>&);
  void props(const HttpRequest&, const std::shared_ptr<Reply>&);
  void show_metrics(const HttpRequest&, const std::shared_ptr<Reply>&);

  const Engine& engine_;
  const ServiceOptions options_;
  const int64_t began_;  // seconds since 1970
  Metrics metrics_;
  Plans plans_;
  Grammars grammars_;
  std::optional<ChatText> chat_text_;  // none: the model has no template
  const ThinkingTags* tags_ = nullptr;
  ToolTemplate tool_template_;
  // Control tokens that the tags are made of, and those that calls of tools are.
  std::vector<int32_t> shown_, shown_of_calls_;
  std::unique_ptr<Scheduler> scheduler_;
};

// Seconds since 1970.
int64_t now_seconds();

}  // namespace hunch::serve
