// Completions and chat completions.
#include "base/error.h"
#include "serve/chat_answer.h"
#include "serve/completion_answer.h"
#include "serve/random_number.h"
#include "serve/request_error.h"
#include "serve/service.h"

namespace hunch::serve {
namespace {

constexpr size_t kCompletionTokens = 16;  // OpenAI's default

}  // namespace

std::string Service::new_id(std::string_view prefix) { return fmt::format("{}{:016x}", prefix, random_number()); }

OpenAiAnswer::About Service::about(const char* id_prefix, const Settings& settings, size_t n_prompts) const {
  OpenAiAnswer::About a;
  a.id = new_id(id_prefix);
  a.model = options_.model_name;
  a.created = now_seconds();
  a.stream = settings.stream;
  a.include_usage = settings.include_usage;
  a.log_probs = settings.log_probs;
  a.n_choices = n_prompts * settings.n_candidates;
  a.n_choices_of_prompt = settings.n_candidates;
  a.n_best_of_prompt = settings.n_choices;
  return a;
}

std::vector<int32_t> Service::ids_of(const Prompt& prompt, const char* param) const {
  if (const auto* ids = std::get_if<std::vector<int32_t>>(&prompt)) {
    for (const int32_t id : *ids)
      if (size_t(id) >= engine_.config().n_vocab)
        refuse(param, "token id {} is outside the vocabulary of {}", id, engine_.config().n_vocab);
    return *ids;
  }
  const Tokenizer& tokenizer = engine_.need_tokenizer();
  std::vector<int32_t> ids = tokenizer.encode(std::get<std::string>(prompt), {.parse_special = true});
  if (ids.empty() && tokenizer.spec().bos) ids.push_back(*tokenizer.spec().bos);
  return ids;
}

std::shared_ptr<Job> Service::job_of(std::vector<int32_t> prompt, const Settings& s, size_t n_tokens, uint64_t seed) {
  if (!engine_.config().causal)
    throw RequestError(400, "this model makes vectors of texts and does not continue them: ask /v1/embeddings");
  auto job = std::make_shared<Job>();
  job->prompt = std::move(prompt);
  GenerateOptions& o = job->options;
  o.n_tokens = n_tokens;
  o.sampler = s.sampler;
  o.sampler.seed = seed;
  for (const auto& [id, bias] : s.sampler.logit_bias)
    if (size_t(id) >= engine_.config().n_vocab)
      refuse("logit_bias", "token id {} is outside the vocabulary of {}", id, engine_.config().n_vocab);
  o.constraint = grammars_.of(s.form, {});
  o.stop = s.stop;
  o.ignore_end = s.ignore_end;
  o.log_probs = s.log_probs;
  o.n_top_log_probs = s.n_top_log_probs;
  o.as_alone = options_.deterministic;
  o.trace = s.trace;
  Plans::Choice choice = plans_.usual();
  if (s.mode && (*s.mode != choice.mode || s.density != 0)) {
    choice.mode = *s.mode;
    choice.density = s.density;
  } else if (s.lossless && !s.mode) {
    choice.mode = "exact";
    choice.density = 0;
  }
  if (s.kv_policy) choice.kv_policy = *s.kv_policy == "none" ? "" : *s.kv_policy;
  if (s.lossless) choice.kv_policy.clear();
  job->plan = plans_.plan(choice);
  job->drafts = s.lossless;
  job->client = s.user;
  job->priority = s.priority;
  if (s.deadline_seconds > 0)
    job->deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s.deadline_seconds));
  job->reuses_prompt = s.reuse_prompt;
  return job;
}

// Of one prompt: the first finds the answers of all.
void Service::join_beams(std::span<const std::shared_ptr<Job>> jobs, const Settings& s) {
  if (s.beam_width == 0) return;
  jobs[0]->beams = Job::Beams{s.beam_width, s.length_penalty, {jobs.begin() + 1, jobs.end()}};
  for (const auto& sibling : jobs.subspan(1)) sibling->is_sibling = true;
}

void Service::complete(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const CompletionRequest r = completion_request(request.body);
  const Settings& s = r.settings;
  const uint64_t seed = s.seed.value_or(random_number());
  const Tokenizer& tokenizer = engine_.need_tokenizer();
  std::vector<std::shared_ptr<Job>> jobs;
  std::vector<CompletionAnswer::Echo> echoes;
  for (const Prompt& prompt : r.prompts) {
    const std::vector<int32_t> ids = ids_of(prompt, "prompt");
    CompletionAnswer::Echo echo;
    const auto* text = std::get_if<std::string>(&prompt);
    if (r.echo) echo.text = text ? *text : tokenizer.decode(ids);
    if (r.echo && s.log_probs && !ids.empty()) echo.first = ids[0];
    for (size_t i = 0; i < s.n_candidates; ++i) {
      jobs.push_back(job_of(ids, s, s.n_tokens.value_or(kCompletionTokens), seed + i));
      if (s.n_candidates > s.n_choices) jobs.back()->options.log_probs = true;  // to choose by
      jobs.back()->scores_prompt = r.echo && s.log_probs;
      echoes.push_back(echo);
    }
    join_beams(std::span(jobs).last(s.n_candidates), s);
  }
  const auto writer = std::make_shared<CompletionAnswer>(about("cmpl-", s, r.prompts.size()), tokenizer, reply, echoes);
  start(std::move(jobs), *writer, s, "prompt");
}

const ChatText& Service::need_chat_text() const {
  if (!chat_text_)
    throw RequestError(
        400,
        "this model has no chat template: it was probably not trained to talk. /v1/completions continues "
        "texts, and `hunch serve --template-file plain` makes it talk all the same");
  return *chat_text_;
}

std::string Service::render(const Json& messages, const Json& variables, const ToolSettings& tools,
                            bool add_generation_prompt) const {
  try {
    return render_with_tools(need_chat_text(), tool_template_, messages, tools.list, variables, add_generation_prompt);
  } catch (const Error& e) {  // the template refuses what it was given
    refuse("messages", "the chat template cannot render these messages: {}", e.what());
  }
}

ChatSplitter Service::splitter(const std::string& rendered, const ToolSettings& tools) const {
  return {*tags_, opens_thinking(rendered, *tags_), {tool_template_.syntax, tools.tools, tools.parallel}};
}

std::vector<int32_t> Service::shown(const ToolSettings& tools) const {
  std::vector<int32_t> out = shown_;
  if (tools.tools) out.insert(out.end(), shown_of_calls_.begin(), shown_of_calls_.end());
  return out;
}

Grammars::Make Service::constraint(const std::string& rendered, const AnswerForm& form, const ToolSettings& tools) {
  // A model whose prompt opens its thinking thinks first, and so does one that names the channels of its answers.
  const bool has_channels = !tags_->end.empty() && tags_->answer.size() > 1;
  std::string behind = opens_thinking(rendered, *tags_) ? std::string(tags_->close) : "";
  if (has_channels) behind = tools.is_forced() ? "<|start|>assistant" : "<|channel|>final<|message|>";
  if (tools.is_forced()) return grammars_.of_calls(tools, tool_template_, need_chat_text().source, behind);
  return grammars_.of(form, behind);
}

Service::Conversation Service::conversation_of(const ChatRequest& r) const {
  std::string rendered = render(r.messages, r.variables, r.tools);
  std::vector<int32_t> ids = engine_.need_tokenizer().encode(rendered, {need_chat_text().add_special, true});
  return {std::move(rendered), std::move(ids)};
}

std::vector<std::shared_ptr<Job>> Service::chat_jobs(const ChatRequest& r, const Conversation& conversation) {
  Settings s = r.settings;
  const uint64_t seed = s.seed.value_or(random_number());
  const std::vector<std::string>& ends = need_chat_text().stop;
  s.stop.insert(s.stop.end(), ends.begin(), ends.end());
  const Grammars::Make must_be = constraint(conversation.rendered, s.form, r.tools);
  std::vector<std::shared_ptr<Job>> jobs;
  for (size_t i = 0; i < s.n_choices; ++i) {
    jobs.push_back(job_of(conversation.ids, s, s.n_tokens.value_or(scheduler_->n_ctx()), seed + i));
    jobs.back()->options.constraint = must_be;
    jobs.back()->options.shown = shown(r.tools);
  }
  join_beams(jobs, s);
  return jobs;
}

void Service::start(std::vector<std::shared_ptr<Job>> jobs, AnswerWriter& writer, const Settings& s,
                    const char* param) {
  const Scales scales = s.lora.is_null() ? adapters_.by_default() : adapters_.read(s.lora, "lora");
  writer.listen_to(jobs);
  std::erase_if(jobs, [](const auto& job) { return job->is_sibling; });  // their first one is told for them
  Scheduler* const scheduler = scheduler_.get();                         // which waits for its tasks when it ends
  const auto submit = [scheduler, jobs, param](const std::shared_ptr<const Adapter>& adapter) {
    for (const auto& job : jobs) job->adapter = adapter;
    scheduler->submit(jobs, param);
  };
  if (const auto adapter = adapters_.find(scales)) return submit(*adapter);
  scheduler_->submit(Scheduler::Task{[this, jobs, scales, submit] {
    try {
      submit(adapters_.load(scales));
    } catch (...) {
      jobs[0]->listener->on_error(std::current_exception());
    }
    return false;
  }});
}

void Service::chat(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const ChatRequest r = chat_request(request.body);
  const Conversation c = conversation_of(r);
  const auto writer = std::make_shared<ChatAnswer>(about("chatcmpl-", r.settings, 1), engine_.need_tokenizer(), reply,
                                                   [&] { return splitter(c.rendered, r.tools); });
  start(chat_jobs(r, c), *writer, r.settings);
}

}  // namespace hunch::serve
