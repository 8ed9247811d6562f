// Ollama's routes.
#include "formats/format.h"
#include "model/fingerprint.h"
#include "serve/ollama_answer.h"
#include "serve/ollama_request.h"
#include "serve/random_number.h"
#include "serve/request_error.h"
#include "serve/service.h"

namespace hunch::serve {
namespace {

std::string shown_size(size_t n_params) {
  const double n = double(n_params);
  return n >= 1e9 ? fmt::format("{:.1f}B", n / 1e9) : fmt::format("{:.2f}M", n / 1e6);
}

// The prompt and what may follow, in the context that the request asks for.
void limit_context(std::vector<std::shared_ptr<Job>>& jobs, size_t asked, size_t n_ctx) {
  if (asked > n_ctx)
    refuse("options.num_ctx", "'options.num_ctx' is {}, this server has contexts of {} tokens (hunch serve --ctx N)",
           asked, n_ctx);
  if (asked == 0) return;
  for (const auto& job : jobs) {
    if (job->prompt.size() > asked)
      throw RequestError(400,
                         fmt::format("the prompt has {} tokens, more than the context of {} (options.num_ctx)",
                                     job->prompt.size(), asked),
                         "options.num_ctx", "context_length_exceeded");
    job->options.n_tokens = std::min(job->options.n_tokens, asked - job->prompt.size());
  }
}

}  // namespace

void Service::ollama_chat(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const OllamaRequest r = ollama_chat_request(request.body);
  if (r.only_loads) return send_json(reply, ollama_load_json(options_.model_name, true, "load"));
  const Conversation c = conversation_of(r.chat);
  std::vector<std::shared_ptr<Job>> jobs = chat_jobs(r.chat, c);
  limit_context(jobs, r.n_ctx, scheduler_->n_ctx());
  const OllamaAnswer::About about{options_.model_name, r.chat.settings.stream, true};
  start(std::move(jobs), *std::make_shared<OllamaAnswer>(reply, about, splitter(c.rendered, r.chat.tools)),
        r.chat.settings);
}

void Service::ollama_generate(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  OllamaRequest r = ollama_generate_request(request.body);
  if (r.only_loads) return send_json(reply, ollama_load_json(options_.model_name, false, "load"));
  if (!chat_text_ && !r.raw) r.raw = r.chat.messages.back()["content"].get<std::string>();
  const OllamaAnswer::About about{options_.model_name, r.chat.settings.stream, false};
  std::vector<std::shared_ptr<Job>> jobs;
  std::optional<ChatSplitter> splits;
  if (r.raw) {
    const Settings& s = r.chat.settings;
    jobs.push_back(job_of(ids_of(*r.raw, "prompt"), s, s.n_tokens.value_or(scheduler_->n_ctx()),
                          s.seed.value_or(random_number())));
  } else {
    const Conversation c = conversation_of(r.chat);
    jobs = chat_jobs(r.chat, c);
    splits.emplace(splitter(c.rendered, r.chat.tools));
  }
  limit_context(jobs, r.n_ctx, scheduler_->n_ctx());
  start(std::move(jobs), *std::make_shared<OllamaAnswer>(reply, about, std::move(splits)), r.chat.settings, "prompt");
}

std::vector<TextToRead> Service::texts_to_read(const OllamaEmbedRequest& r) const {
  std::vector<TextToRead> texts;
  for (const std::string& text : r.texts) {
    texts.push_back({ids_of(text, "input")});
    std::vector<int32_t>& ids = texts.back().ids;
    if (r.truncate) ids.resize(std::min(ids.size(), scheduler_->n_ctx()));
  }
  return texts;
}

void Service::ollama_embed(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const auto done = [model = options_.model_name, began = Clock::now()](std::vector<std::vector<float>>& vectors,
                                                                        size_t n_tokens) -> Json {
    return {{"model", model},
            {"embeddings", vectors},
            {"total_duration", int64_t(1e9 * seconds_between(began, Clock::now()))},
            {"load_duration", 0},
            {"prompt_eval_count", n_tokens}};
  };
  read_vectors(reply, Dialect::kOllama, texts_to_read(ollama_embed_request(request.body)), done);
}

void Service::ollama_embeddings(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  read_vectors(reply, Dialect::kOllama, texts_to_read(ollama_embeddings_request(request.body)),
               [](std::vector<std::vector<float>>& vectors, size_t) -> Json {
                 return {{"embedding", vectors[0]}};
               });
}

Json Service::ollama_model() const {
  const ModelConfig& c = engine_.config();
  const ModelWeights& w = engine_.model->weights();
  return {{"name", options_.model_name},
          {"model", options_.model_name},
          {"size", w.bytes},
          {"digest", tensor_fingerprint(engine_.model->file())},
          {"details",
           {{"parent_model", ""},
            {"format", "gguf"},
            {"family", c.arch},
            {"families", Json::array({c.arch})},
            {"parameter_size", shown_size(w.n_params)},
            {"quantization_level", name_of(engine_.model->main_dtype())}}},
          {"context_length", scheduler_->n_ctx()}};
}

void Service::ollama_show(const HttpRequest&, const std::shared_ptr<Reply>& reply) {
  const ModelConfig& c = engine_.config();
  Json capabilities = Json::array();
  if (c.causal) capabilities.push_back("completion");
  capabilities.push_back("embedding");
  if (chat_text_) capabilities.push_back("tools");
  if (tags_ && chat_text_->source.find(tags_->open) != std::string::npos) capabilities.push_back("thinking");
  send_json(reply, {{"modelfile", ""},
                    {"parameters", ""},
                    {"template", chat_text_ ? chat_text_->source : ""},
                    {"details", ollama_model()["details"]},
                    {"model_info",
                     {{"general.architecture", c.arch},
                      {"general.parameter_count", engine_.model->weights().n_params},
                      {c.arch + ".context_length", c.n_ctx_train},
                      {c.arch + ".embedding_length", c.n_embd},
                      {c.arch + ".block_count", c.n_layer}}},
                    {"capabilities", capabilities},
                    {"modified_at", iso_time(began_)}});
}

}  // namespace hunch::serve
