// llama.cpp's own completions.
#include "serve/native_answer.h"
#include "serve/native_request.h"
#include "serve/random_number.h"
#include "serve/service.h"

namespace hunch::serve {

void Service::complete_natively(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  NativeRequest r = native_request(request.body);
  const Settings& s = r.settings;
  const uint64_t seed = s.seed.value_or(random_number());
  const Tokenizer& tokenizer = engine_.need_tokenizer();
  r.echoed["seed"] = seed;
  r.echoed["mode"] = s.mode.value_or(plans_.usual().mode);
  NativeAnswer::About about{options_.model_name, s.stream, r.is_list, r.with_tokens, s.log_probs, std::move(r.echoed)};
  std::vector<std::shared_ptr<Job>> jobs;
  for (const std::vector<Prompt>& parts : r.prompts) {
    std::vector<int32_t> ids;
    for (const Prompt& part : parts) {  // the first says how the text begins
      const auto* text = std::get_if<std::string>(&part);
      const std::vector<int32_t> more = text && &part != &parts.front()
                                            ? tokenizer.encode(*text, {.add_special = false, .parse_special = true})
                                            : ids_of(part, "prompt");
      ids.insert(ids.end(), more.begin(), more.end());
    }
    const auto* text = parts.size() == 1 ? std::get_if<std::string>(&parts[0]) : nullptr;
    about.prompts.push_back(text ? *text : tokenizer.decode(ids));
    about.n_prompt.push_back(ids.size());
    jobs.push_back(job_of(std::move(ids), s, s.n_tokens.value_or(scheduler_->n_ctx()), seed));
  }
  const auto writer = std::make_shared<NativeAnswer>(std::move(about), tokenizer, reply);
  start(std::move(jobs), *writer, s, "prompt");
}

}  // namespace hunch::serve
