#include "cli/teacher_answers.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/session_io.h"
#include "cli/train_checks.h"
#include "engine/answer.h"
#include "engine/generate.h"
#include "io/printable.h"
#ifdef HUNCH_HAVE_HUB
#include "hub/http.h"
#endif

namespace hunch::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::vector<std::string> read_prompts(const std::string& path) {
  std::vector<std::string> prompts;
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);)
    if (line.find_first_not_of(" \t\r") != line.npos) prompts.push_back(line);
  if (prompts.empty()) fail(ErrorKind::kUsage, "'{}' has no prompts: expected one a line", printable(path, 300));
  return prompts;
}

// How many of the prompts have been answered there. A line that was cut off is taken away.
size_t n_answered(const std::string& path, const std::vector<std::string>& prompts) {
  std::error_code ec;
  if (!fs::exists(path, ec)) return 0;
  const std::string text = read_text(path);
  size_t n = 0, end = 0;
  for (size_t begin = 0; (end = text.find('\n', begin)) != text.npos; begin = end + 1, ++n) {
    const Json line = Json::parse(text.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
    const std::string prompt = line.is_object() ? line.value("prompt", "") : "";
    if (n >= prompts.size() || prompt != prompts[n])
      fail(ErrorKind::kUsage,
           "'{}' line {} answers another prompt than --prompts has there: give --restart to have all answered anew",
           printable(path, 300), n + 1);
  }
  fs::resize_file(path, text.empty() ? 0 : text.rfind('\n') + 1, ec);
  return n;
}

// Takes answers in the order of the prompts, and appends them.
class AnswerFile {
 public:
  AnswerFile(const std::string& path, std::span<const std::string> prompts, size_t n_done, bool quiet)
      : path_(path), prompts_(prompts), n_done_(n_done), bar_(!quiet), out_(path, std::ios::app | std::ios::binary) {}

  void add(const std::string& answer) {
    out_ << Json({{"prompt", prompts_[n_done_]}, {"answer", answer}})
                .dump(-1, ' ', false, Json::error_handler_t::replace)
         << '\n'
         << std::flush;
    if (!out_) fail(ErrorKind::kIo, "cannot write '{}'", path_);
    ++n_done_;
    if (const Progress progress = bar_.progress()) progress("the teacher answers", n_done_, prompts_.size());
  }
  size_t n_done() const { return n_done_; }

 private:
  const std::string path_;
  std::span<const std::string> prompts_;
  size_t n_done_;
  ProgressBar bar_;
  std::ofstream out_;
};

SamplerOptions sampler_of(const TrainFlags& flags, size_t number) {
  SamplerOptions sampler;
  sampler.temperature = flags.answer_temperature;
  sampler.top_k = 0;
  sampler.top_p = 1;
  sampler.min_p = 0;
  sampler.seed = flags.seed + number;
  return sampler;
}

// Some prompts at a time, in shared steps.
void answer_here(const TrainFlags& flags, std::span<const std::string> prompts, std::shared_ptr<Compute> compute,
                 AnswerFile& file) {
  constexpr size_t kTogether = 16;
  ModelFlags theirs = flags.model;
  theirs.model = flags.teacher;
  const Engine engine = open_engine(theirs, std::move(compute));
  const size_t n_ctx = resolve_context(engine.config(), 0);
  Batch batch(engine, {.n_tokens = kTogether * n_ctx, .kv_type = DType::kF16, .n_sequences = kTogether});
  while (file.n_done() < prompts.size()) {
    const size_t first = file.n_done(), n = std::min(kTogether, prompts.size() - first);
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<std::shared_ptr<Answer>> answers;
    for (size_t i = first; i < first + n; ++i) {
      GenerateOptions options;
      options.n_tokens = flags.n_answer_tokens;
      options.sampler = sampler_of(flags, i);
      options.log_probs = false;
      sequences.push_back(batch.new_sequence({.plan = engine.plan_named("exact", 0), .n_ctx = n_ctx}));
      answers.push_back(batch.admit(*sequences.back(), engine.encode(prompts[i]), options));
    }
    while (batch.step()) engine.compute->throw_if_stopped();
    for (const auto& answer : answers) file.add(answer->generated().text);
  }
}

#ifdef HUNCH_HAVE_HUB
std::string completions_url(std::string base) {
  while (base.ends_with('/')) base.pop_back();
  return base.ends_with("/completions") ? base : base + (base.ends_with("/v1") ? "" : "/v1") + "/completions";
}

void answer_by_server(const TrainFlags& flags, std::span<const std::string> prompts, AnswerFile& file) {
  const std::string url = completions_url(flags.teacher);
  HttpClient client;
  HttpRequest request;
  request.url = request.token_origin = url;
  if (const char* key = std::getenv("OPENAI_API_KEY")) request.token = key;
  request.cancelled = [] { return interrupt_stop().requested(); };
  while (file.n_done() < prompts.size()) {
    Json body = {{"prompt", prompts[file.n_done()]},
                 {"max_tokens", flags.n_answer_tokens},
                 {"temperature", flags.answer_temperature},
                 {"seed", flags.seed + file.n_done()}};
    if (!flags.teacher_model.empty()) body["model"] = flags.teacher_model;
    const HttpResponse response = client.post(request, body.dump(-1, ' ', false, Json::error_handler_t::replace));
    if (response.status != 200)
      fail(ErrorKind::kNetwork, "'{}' answers with status {}: {}", printable(url, 300), response.status,
           printable(response.body, 300));
    const Json answer = Json::parse(response.body, nullptr, /*allow_exceptions=*/false);
    const Json::json_pointer place("/choices/0/text");
    if (!answer.is_object() || !answer.contains(place) || !answer[place].is_string())
      fail(ErrorKind::kFormat, "'{}' answers with no text of a completion (choices[0].text): {}", printable(url, 300),
           printable(response.body, 300));
    file.add(answer[place].get<std::string>());
  }
}
#else
void answer_by_server(const TrainFlags&, std::span<const std::string>, AnswerFile&) {
  fail(ErrorKind::kUnsupported, "--teacher URL: this hunch was built without the hub client (-DHUNCH_HUB=OFF)");
}
#endif

}  // namespace

bool is_url(const std::string& teacher) { return teacher.starts_with("http://") || teacher.starts_with("https://"); }

std::string answers_path(const TrainFlags& flags) { return output_path(flags).string() + ".answers.jsonl"; }

void write_answers(const TrainFlags& flags, std::shared_ptr<Compute> compute) {
  const std::vector<std::string> prompts = read_prompts(flags.prompts);
  const std::string path = answers_path(flags);
  std::error_code ec;
  if (flags.restart) fs::remove(path, ec);
  AnswerFile file(path, prompts, n_answered(path, prompts), flags.model.quiet);
  if (file.n_done() < prompts.size()) {
    is_url(flags.teacher) ? answer_by_server(flags, prompts, file)
                          : answer_here(flags, prompts, std::move(compute), file);
  }
}

}  // namespace hunch::cli
