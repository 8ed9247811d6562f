#include "cli/eval_models.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/eval_text.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "engine/context_drafter.h"
#include "io/printable.h"
#include "text/tokenizer.h"

namespace hunch::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct ModelRow {
  CompareRow row;
  ModelSize size;
  double speed_up = 1;  // against the first row, in the same turns
};

ModelFlags flags_of(const EvalFlags& flags, const CompareMode& mode) {
  ModelFlags model = flags.model;
  model.model = mode.model;
  model.sidecar.clear();
  return model;
}

[[noreturn]] void fail_other_tokens(const CompareMode& mode, const std::string& how) {
  fail(ErrorKind::kUsage, "--compare: '{}' has another vocabulary than the model: {}; they cannot be compared",
       printable(mode.name), how);
}

// Tokens that may be predicted are the same ones, under the same ids.
void check_tokens(const Engine& engine, const CompareMode& mode, const TokenizerSpec& other) {
  const TokenizerSpec& own = engine.need_tokenizer().spec();
  const size_t n = std::min(own.pieces.size(), other.pieces.size());
  for (size_t id = 0; id < n; ++id)
    if (own.pieces[id] != other.pieces[id] && own.types[id] != TokenType::kUnused)
      fail_other_tokens(mode, fmt::format("token {} is '{}', expected '{}'", id, printable(other.pieces[id]),
                                          printable(own.pieces[id])));
}

void check_model(const Engine& engine, const EvalFlags& flags, const CompareMode& mode) {
  const OpenedModel opened = open_named(flags_of(flags, mode));
  const Tensor& words = opened.file.get("token_embd.weight");
  if (words.rows() != engine.config().n_vocab)
    fail_other_tokens(mode, fmt::format("{} tokens, expected {}", words.rows(), engine.config().n_vocab));
  if (engine.tokenizer && opened.file.meta.has("tokenizer.ggml.model"))
    check_tokens(engine, mode, tokenizer_spec_from_gguf(opened.file.meta));
}

// The modes of MODEL itself beside the first of the others, so that the reference is computed once for these; then the
// reference again beside each of the others. Never more than two models are open.
std::vector<ModelRow> compare_all(const Engine& engine, const EvalFlags& flags, std::span<const CompareMode> modes,
                                  std::span<const int32_t> ids, const CompareOptions& options) {
  std::vector<ModelRow> rows(modes.size());
  std::vector<size_t> turn;
  for (size_t m = 0; m < modes.size(); ++m)
    if (modes[m].model.empty()) turn.push_back(m);
  const ModelSize own = size_of(engine, resolve_model(flags.model));
  for (const size_t m : turn) rows[m].size = own;
  size_t n_done = 0;
  const auto measure = [&](const Engine* other) {
    std::vector<CompareMode> together;
    for (const size_t m : turn) {
      together.push_back(modes[m]);
      if (!modes[m].model.empty()) together.back().engine = other;
    }
    ProgressBar bar(!flags.model.quiet);
    const Progress shown = bar.progress();
    Progress named;
    if (shown)
      named = [&, shown](std::string_view what, uint64_t done, uint64_t total) {
        shown(fmt::format("{} of {} {}", n_done + 1, modes.size(), what), done, total);
      };
    const std::vector<CompareRow> found = compare_modes(engine, together, ids, options, named);
    for (size_t i = 0; i < turn.size(); ++i) {
      if (i == 0 && n_done > 0) continue;  // the reference is there already
      rows[turn[i]].row = found[i];
      if (found[0].tokens_per_s > 0) rows[turn[i]].speed_up = found[i].tokens_per_s / found[0].tokens_per_s;
      ++n_done;
    }
  };
  for (size_t m = 0; m < modes.size(); ++m) {
    if (modes[m].model.empty()) continue;
    const Engine other = open_other(engine, flags, modes[m], rows[m].size);
    turn.push_back(m);
    measure(&other);
    turn = {0};
  }
  return rows;
}

Json json_of(const ModelRow& r, const CompareMode& mode) {
  Json json = row_json(r.row);
  json["speed_up"] = r.row.speed_is_real ? Json(r.speed_up) : Json();
  json["bits_per_weight"] = r.size.bits_per_weight();
  json["n_weights"] = r.size.n_weights;
  json["tensor_bytes"] = r.size.tensor_bytes;
  json["file_bytes"] = r.size.file_bytes;
  if (!mode.model.empty()) json["file"] = mode.model;
  return json;
}

// Three digits that say something: 0.0123, 1.23, 12.3, 123, 1234.
std::string three_digits(double v) {
  return v < 10 ? fmt::format("{:.2f}", v) : v < 100 ? fmt::format("{:.1f}", v) : fmt::format("{:.0f}", v);
}

void print_rows(std::span<const ModelRow> rows, const std::vector<std::string>& names) {
  std::vector<std::vector<std::string>> cells = {
      {"model", "perpl.", "+-", "more", "+-", "KL", "agree", "bits", "MB", "MB/tok", "tok/s"}};
  for (size_t i = 0; i < rows.size(); ++i) {
    const CompareRow& row = rows[i].row;
    const PerplexityChange change = perplexity_change(row);
    cells.push_back({names[i], fmt::format("{:.2f}", row.perplexity), three_digits(row.perplexity * row.nll_stderr),
                     i ? fmt::format("{:+.1f}%", 100 * change.value) : "-",
                     i ? fmt::format("{:.1f}", 100 * change.error) : "-", fmt::format("{:.4f}", row.kl),
                     fmt::format("{:.1f}%", 100 * row.top1), fmt::format("{:.2f}", rows[i].size.bits_per_weight()),
                     three_digits(double(rows[i].size.file_bytes) / 1e6), three_digits(row.bytes_per_token / 1e6),
                     row.speed_is_real ? three_digits(row.tokens_per_s) : "-"});
  }
  print(table(cells));
}

}  // namespace

bool names_models(std::span<const CompareMode> modes) {
  return std::ranges::any_of(modes, [](const CompareMode& mode) { return !mode.model.empty(); });
}

void check_models(const Engine& engine, const EvalFlags& flags, std::span<const CompareMode> modes) {
  for (const CompareMode& mode : modes)
    if (!mode.model.empty()) check_model(engine, flags, mode);
}

void check_first(const EvalFlags& flags, std::span<const CompareMode> modes) {
  if (!modes[0].model.empty())
    fail(ErrorKind::kUsage, "--compare: the first is the reference, and is a mode of MODEL: dense,{}",
         printable(flags.compare));
}

Engine open_other(const Engine& engine, const EvalFlags& flags, const CompareMode& mode, ModelSize& size) {
  Engine other = open_engine(flags_of(flags, mode), engine.compute);
  size = size_of(other, mode.model);
  return other;
}

std::vector<std::string> short_names(std::span<const CompareMode> modes) {
  std::vector<std::string> names;
  for (const CompareMode& mode : modes) {
    const fs::path path = fs::path(mode.model).lexically_normal();
    const std::string stem = path.has_filename() ? path.stem().string() : path.parent_path().filename().string();
    names.push_back(printable(mode.model.empty() || stem.empty() ? mode.name : stem));
  }
  for (size_t i = 0; i < names.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (names[i] == names[j]) names[i] = printable(modes[i].name), names[j] = printable(modes[j].name);
  return names;
}

int eval_models(const EvalFlags& flags, std::vector<CompareMode> modes) {
  if (!flags.against.empty())
    fail(ErrorKind::kUsage, "--against has one other model, --compare several: name '{}' there",
         printable(flags.against));
  if (flags.drafting.any() || std::ranges::any_of(modes, &CompareMode::lossless))
    fail(ErrorKind::kUsage, "lossless drafts with MODEL: no other models beside it");
  check_first(flags, modes);
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  check_models(engine, flags, modes);
  load_plans(engine, modes);
  const std::vector<int32_t> ids = engine.encode(text);
  CompareOptions options;
  options.windows = window_options(flags, engine);
  print_first_line(engine, flags.model, flags.context, options.windows.n_ctx, 0);
  const std::vector<ModelRow> rows = compare_all(engine, flags, modes, ids, options);
  const TextWindows windows(engine, ids, options.windows);
  if (flags.model.json) {
    Json json = {{"perplexity", rows[0].row.perplexity},
                 {"n_tokens", windows.n_scored()},
                 {"protocol", windows.describe()},
                 {"reference", rows[0].row.name},
                 {"modes", Json::object()}};
    for (size_t m = 0; m < rows.size(); ++m) json["modes"][rows[m].row.name] = json_of(rows[m], modes[m]);
    json["model"] = model_json(engine, flags.model);
    print_json(json);
    return 0;
  }
  print_rows(rows, short_names(modes));
  if (flags.model.quiet) return 0;
  note(fmt::format(
      "\n{} tokens, {}. +-: one standard error, of tokens taken as independent; more: the perplexity against {}'s, "
      "with the error of the differences by token; KL in nats, and agree: the same token is the most probable, to {}; "
      "bits: of a weight; MB: the file; MB/tok: weights and KV that decoding one token read; tok/s: decoding, in turns "
      "with {}.",
      windows.n_scored(), windows.describe(), rows[0].row.name, rows[0].row.name, rows[0].row.name));
  return 0;
}

}  // namespace hunch::cli
