// hunch eval: perplexity of a text, and modes side by side.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "cli/console.h"
#include "cli/drafting_flags.h"
#include "cli/eval_by_position.h"
#include "cli/eval_models.h"
#include "cli/eval_recall.h"
#include "cli/eval_task.h"
#include "cli/eval_text.h"
#include "cli/page_text.h"
#include "cli/parse.h"
#include "cli/reblock_price.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "io/printable.h"
#include "measure/compare.h"
#include "measure/perplexity.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

int eval_perplexity(const Engine& engine, const EvalFlags& flags, std::span<const int32_t> ids,
                    const WindowOptions& options) {
  Perplexity result;
  {
    ProgressBar bar(!flags.model.quiet);
    ContextOptions context = context_options(flags.context);
    context.decodes_all = true;
    result = perplexity(engine, context, ids, options, bar.progress());
  }
  const std::vector<double> density = density_per_layer(result.stats);
  const double tokens_per_s = result.seconds > 0 ? double(result.stats.n_tokens) / result.seconds : 0;
  if (flags.model.json) {
    print_json({{"perplexity", result.perplexity},
                {"n_tokens", result.n_tokens},
                {"nll", result.nll},
                {"n_ctx", result.n_ctx},
                {"stride", result.stride},
                {"protocol", result.protocol},
                {"seconds", result.seconds},
                {"tokens_per_s", tokens_per_s},
                {"density_mlp", mean_of(density)},
                {"density_mlp_per_layer", density},
                {"model", model_json(engine, flags.model)}});
    return 0;
  }
  print(fmt::format("perplexity {:.4f} over {} tokens\n", result.perplexity, result.n_tokens));
  if (flags.model.quiet) return 0;
  note(result.protocol);
  std::string line = fmt::format("{:.1f} s, {:.0f} tokens/s", result.seconds, tokens_per_s);
  if (const std::string text = describe_density(density); flags.model.verbose && !text.empty()) line += "; " + text;
  note(line);
  return 0;
}

std::string megabytes(double bytes) { return fmt::format("{:.2f}", bytes / 1e6); }

int eval_compare(const Engine& engine, const EvalFlags& flags, std::span<const int32_t> ids,
                 const WindowOptions& options, const std::vector<CompareMode>& modes) {
  std::vector<CompareRow> rows;
  {
    ProgressBar bar(!flags.model.quiet);
    CompareOptions compare;
    compare.windows = options;
    rows = compare_modes(engine, modes, ids, compare, bar.progress());
  }
  const TextWindows windows(engine, ids, options);
  const size_t n_scored = windows.n_scored();
  if (flags.model.json) {
    Json json = {{"perplexity", rows[0].perplexity},
                 {"n_tokens", n_scored},
                 {"reference", rows[0].name},
                 {"modes", Json::object()}};
    for (const CompareRow& row : rows) json["modes"][row.name] = row_json(row);
    json["model"] = model_json(engine, flags.model);
    print_json(json);
    return 0;
  }
  std::vector<std::vector<std::string>> cells = {
      {"mode", "perplexity", "KL", "agree", "neurons", "heads", "MB/token", "KV", "tokens/s"}};
  bool oracle = false;
  std::vector<std::string> names;
  for (const CompareRow& row : rows) names.push_back(row.name);
  names = without_folders(names);
  for (size_t m = 0; m < rows.size(); ++m) {
    const CompareRow& row = rows[m];
    oracle = oracle || !row.speed_is_real;
    cells.push_back({names[m], fmt::format("{:.3f}", row.perplexity), fmt::format("{:.4f}", row.kl),
                     share_text(row.top1), share_text(row.density_mlp), share_text(row.density_heads),
                     megabytes(row.bytes_per_token), megabytes(row.kv_bytes_per_token),
                     row.speed_is_real ? fmt::format("{:.1f}", row.tokens_per_s) : "-"});
  }
  print(table(cells));
  if (flags.model.quiet) return 0;
  note(fmt::format(
      "\n{} tokens, {}. KL in nats, to {}; agree: the same token is the most probable; neurons, heads: computed; "
      "MB/token: weights and KV that decoding one token read, KV: of it.",
      n_scored, windows.describe(), rows[0].name));
  if (!rows[0].rank_bytes_per_token.empty()) {
    std::string ranks = "MB/token by rank:";
    for (size_t m = 0; m < rows.size(); ++m) {
      ranks += fmt::format("{} {}", m ? ";" : "", names[m]);
      for (const double bytes : rows[m].rank_bytes_per_token) ranks += " " + megabytes(bytes);
    }
    note(ranks + ". The slowest one is waited for.");
  }
  if (oracle)
    note(
        "The oracle knows which neurons and heads matter from a first, dense pass that is not counted: it shows what a "
        "perfect predictor could save.");
  for (const CompareRow& row : rows)
    if (const std::string read = describe_pages(row.pages); !read.empty()) note(fmt::format("{}: {}", row.name, read));
  for (const CompareRow& row : rows)
    if (row.lossless)
      note(fmt::format(
          "{} continues the prompt in its own words: {:.2f} tokens per pass, {:.0f} % of the drafted tokens accepted",
          row.name, row.tokens_per_pass, row.acceptance * 100));
  for (const CompareRow& row : rows)
    if (const std::string text = describe_density(row.density_per_layer); flags.model.verbose && !text.empty())
      note(fmt::format("{}: {}", row.name, text));
  return 0;
}

// Every mode once more with the other model; without any, the mode of --mode.
void add_other(std::vector<CompareMode>& modes, const EvalFlags& flags, const Engine& other) {
  if (modes.empty()) modes.push_back({flags.context.mode, context_options(flags.context)});
  const std::string name = std::filesystem::path(flags.against).filename().string();
  for (size_t m = 0, n = modes.size(); m < n; ++m) {
    CompareMode mode = modes[m];
    mode.name = fmt::format("{} {}", printable(name), mode.name);
    mode.engine = &other;
    modes.push_back(std::move(mode));
  }
}

// The mode of --mode without policies, then with each.
std::vector<CompareMode> policy_modes(const EvalFlags& flags) {
  if (!flags.compare.empty() || (!flags.context.kv_policies.empty() && !flags.context.experts.empty()))
    fail(ErrorKind::kUsage, "give one of --compare, --kv-policy and --experts, each with --mode as it is to be");
  const bool of_keys = !flags.context.kv_policies.empty();
  ContextFlags context = flags.context;
  std::vector<std::string>& policy = of_keys ? context.kv_policies : context.experts;
  const std::vector<std::string> policies = std::exchange(policy, {});
  std::vector<CompareMode> modes = {{of_keys ? "all keys" : "as trained", context_options(context)}};
  for (const std::string& name : policies) {
    policy = {name};
    modes.push_back({name, context_options(context)});
  }
  return modes;
}

}  // namespace

int eval(const EvalFlags& given) {
  EvalFlags flags = given;
  if (flags.text.empty() && flags.task.empty()) flags.text = std::exchange(flags.task_file, {});  // as llama.cpp's -f
  if (flags.text.empty() == flags.task.empty())
    fail(ErrorKind::kUsage, "give either --text FILE or --task NAME --file FILE");
  if (flags.by_position) return eval_by_position(flags);
  if (!flags.html.empty()) fail(ErrorKind::kUsage, "--html is the figure of --by-position");
  if (!flags.task.empty()) {
    if (!flags.against.empty()) fail(ErrorKind::kUsage, "--against goes with --text, not with --task");
    if (flags.drafting.any())
      fail(ErrorKind::kUsage, "drafts change speed, no answers: they go with --text, not with --task");
    if (flags.stride || flags.max_tokens || !flags.protocol.empty())
      fail(ErrorKind::kUsage, "--stride, --protocol and --max-tokens go with --text, not with --task");
    return is_recall_task(flags.task) ? eval_recall(flags) : eval_task(flags);
  }
  if (!flags.task_file.empty() || flags.max_items || flags.n_few_shot || !flags.few_shot_file.empty())
    fail(ErrorKind::kUsage, "--file, --max-items, --few-shot and --few-shot-file go with --task, not with --text");
  std::vector<CompareMode> modes;
  if (!flags.context.kv_policies.empty() || !flags.context.experts.empty()) {
    modes = policy_modes(flags);
  } else if (!flags.compare.empty()) {
    modes = parse_modes(flags.compare, context_options(flags.context));
  }
  if (names_models(modes)) return eval_models(flags, std::move(modes));
  const bool lossless = std::ranges::any_of(modes, &CompareMode::lossless);
  if (flags.drafting.any() && !lossless)
    fail(ErrorKind::kUsage, "drafts change speed, not perplexity: they go with --compare lossless");
  if (lossless && !flags.against.empty())
    fail(ErrorKind::kUsage, "--against has no lossless mode: it drafts with MODEL");
  for (const CompareMode& mode : modes)
    if (!mode.sidecar.empty() && !flags.against.empty())
      fail(ErrorKind::kUsage, "--against: the sidecar '{}' is of one of the two models; name it with --sidecar",
           printable(mode.name));
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  load_plans(engine, modes);
  std::optional<Engine> other;
  if (!flags.against.empty()) {
    ModelFlags model = flags.model;
    model.model = flags.against;
    model.sidecar.clear();
    other = open_engine(model, engine.compute);
    add_other(modes, flags, *other);
  }
  if (lossless) {
    DraftFlags drafting = flags.drafting;
    drafting.lossless = !drafting.any();
    const DraftingOptions with = drafting_options(drafting, flags.model, engine);
    for (CompareMode& mode : modes)
      if (mode.lossless) mode.drafting = with;
  }
  const std::vector<int32_t> ids = engine.encode(text);
  const WindowOptions options = window_options(flags, engine);
  print_first_line(engine, flags.model, flags.context, options.n_ctx, 0);
  print_reblock_price(engine, flags.model, ids);
  return modes.empty() ? eval_perplexity(engine, flags, ids, options)
                       : eval_compare(engine, flags, ids, options, modes);
}

}  // namespace hunch::cli
