// hunch sparsify: learn which neurons a text needs, and write it beside the model.
#include "compress/sparsify.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/sparsify_prompts.h"
#include "cli/table.h"
#include "compress/fit_store.h"
#include "compress/sparsify_names.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

// A price that nobody wants to pay is mostly a percentage without its sign.
constexpr double kMostPplIncrease = 0.2;

double ppl_budget(const SparsifyFlags& flags) {
  const std::string& text = *flags.max_ppl_increase;
  const double budget = parse_share(text, "--max-ppl-increase", true);
  if (budget > kMostPplIncrease && !flags.force)
    fail(ErrorKind::kUsage,
         "--max-ppl-increase: {} lets the perplexity grow by {:g} %, expected at most {:g} %; one percent is written "
         "as 1% or "
         "0.01 (--force takes any)",
         printable(text), budget * 100, kMostPplIncrease * 100);
  return budget;
}

SparsifyOptions options_of(const SparsifyFlags& flags) {
  if (flags.max_ppl_increase && flags.density)
    fail(ErrorKind::kUsage, "give one budget only: --max-ppl-increase or --density");
  SparsifyOptions options;
  options.max_tokens = flags.max_tokens;
  options.method = flags.method;
  options.predictor = flags.predictor;
  options.input = look_ahead_from(flags.look_ahead);
  options.heads = head_mode_from(flags.heads);
  options.head_input = head_look_ahead_from(flags.head_look_ahead);
  options.screen = flags.screen == "auto";
  options.rank = flags.rank;
  options.n_epochs = flags.n_epochs;
  if (flags.max_ppl_increase) options.max_ppl_increase = ppl_budget(flags);
  if (flags.density) {
    options.density = parse_share(*flags.density, "--density");
    if (!(options.density > 0 && options.density <= 1))
      fail(ErrorKind::kUsage, "--density: expected more than 0 and at most 1, found '{}'", *flags.density);
  }
  return options;
}

std::string kilobytes(double bytes) { return fmt::format("{:.1f} kB", bytes / 1e3); }

void print_method_layers(const SparsifyReport& report) {
  std::vector<std::vector<std::string>> cells = {{"layer", "method", "density", "error", "reads", "dense reads"}};
  for (size_t l = 0; l < report.layers.size(); ++l) {
    const SparsifyLayer& row = report.layers[l];
    cells.push_back({std::to_string(l), row.predictor, share_text(row.density),
                     fmt::format("{:.2f} %", row.missed * 100), kilobytes(row.bytes), kilobytes(row.exact_bytes)});
  }
  print(table(cells, {1}));
}

void print_layers(const SparsifyReport& report) {
  if (report.method != "predict") return print_method_layers(report);
  std::vector<std::vector<std::string>> cells = {
      {"layer", "predictor", "active", "density", "recall", "missed", "predictor reads", "MLP reads", "exact reads"}};
  for (size_t l = 0; l < report.layers.size(); ++l) {
    const SparsifyLayer& row = report.layers[l];
    cells.push_back({std::to_string(l), row.predictor, share_text(row.active), share_text(row.density),
                     share_text(row.recall), fmt::format("{:.2f} %", row.missed * 100),
                     kilobytes(double(row.predictor_bytes)), kilobytes(row.bytes), kilobytes(row.exact_bytes)});
  }
  print(table(cells, {1}));
}

// Nothing where heads were not asked for, or cannot be chosen.
void print_heads(const SparsifyReport& report) {
  std::vector<std::vector<std::string>> cells = {
      {"layer", "head predictor", "heads", "recall", "missed", "attention reads", "with all heads"}};
  for (size_t l = 0; l < report.layers.size(); ++l) {
    const SparsifyLayer& row = report.layers[l];
    if (row.attention_exact_bytes == 0) return;
    cells.push_back({std::to_string(l), row.head_predictor, share_text(row.head_density), share_text(row.head_recall),
                     fmt::format("{:.2f} %", row.head_missed * 100), kilobytes(row.attention_bytes),
                     kilobytes(row.attention_exact_bytes)});
  }
  print("\n" + table(cells, {1}));
}

void print_screen(const ScreenFit& s) {
  if (s.full_bytes == 0) return;
  if (!s.screen) return print("\nvocabulary: every logit is computed; no screen would save a fifth of the bytes\n");
  print(
      fmt::format("\nvocabulary, decoding greedily: a screen of rank {}, then {:.0f} exact rows, all of them for {} of "
                  "the tokens: {} per token "
                  "instead of {}; the best token was computed for {} of {} tokens\n",
                  s.rank, s.shortlist, share_text(s.all), kilobytes(s.bytes), kilobytes(s.full_bytes),
                  grouped(s.n_same), grouped(s.n_checked)));
}

void print_whole(const SparsifyReport& report) {
  std::vector<std::vector<std::string>> quality = {{"mode", "perplexity", "change", "KL", "agree"}};
  std::vector<std::vector<std::string>> cost = {
      {"mode", "neurons", "heads", "MB/token", "expected", "tokens/s", "measured"}};
  const CompareRow& dense = report.rows[0];
  for (const CompareRow& row : report.rows) {
    quality.push_back({row.name, fmt::format("{:.3f}", row.perplexity),
                       fmt::format("{:+.2f} %", (row.perplexity / dense.perplexity - 1) * 100),
                       fmt::format("{:.4f}", row.kl), share_text(row.top1)});
    cost.push_back({row.name, share_text(row.density_mlp), share_text(row.density_heads),
                    fmt::format("{:.2f}", row.bytes_per_token / 1e6),
                    fmt::format("{:.2f}x", dense.bytes_per_token / row.bytes_per_token),
                    fmt::format("{:.1f}", row.tokens_per_s),
                    fmt::format("{:.2f}x", row.tokens_per_s / dense.tokens_per_s)});
  }
  print("\n" + table(quality) + "\n" + table(cost));
}

std::string legend(const SparsifyReport& report) {
  const std::string tokens = fmt::format("{} tokens fitted to, {} to calibrate, {} to check (the last tables). ",
                                         grouped(report.n_train), grouped(report.n_calibrate), grouped(report.n_check));
  constexpr std::string_view kSpeed =
      " expected: dense bytes / bytes, measured: speed / dense speed, one token at a time.";
  if (report.method == "predict")
    return fmt::format(
        "{}active: neurons that are not zero; recall: share of them that is predicted; missed: share of the squared "
        "contributions to the "
        "stream that is left out; heads: share that is computed, recall then of the heads that carry 90 % of a token's "
        "attention.{}",
        tokens, kSpeed);
  return fmt::format(
      "{}density: share of the {}; error: squared, at the block's output, relative to what the block adds.{}{}", tokens,
      report.method == "teal" ? "layer's weights that are multiplied" : "neurons that are computed",
      report.method == "griffin" ? " The first half of each window of text is the prompt that chooses." : "", kSpeed);
}

// null: every logit is computed.
Json screen_json(const ScreenFit& s) {
  if (!s.screen) return {};
  return {{"rank", s.rank},    {"shortlist", s.shortlist},   {"all", s.all},
          {"bytes", s.bytes},  {"full_bytes", s.full_bytes}, {"n_checked", s.n_checked},
          {"n_same", s.n_same}};
}

Json report_json(const SparsifyReport& report, const std::string& out) {
  Json layers = Json::array(), modes = Json::object();
  for (const SparsifyLayer& l : report.layers)
    layers.push_back({{"predictor", l.predictor},
                      {"active", l.active},
                      {"density", l.density},
                      {"recall", l.recall},
                      {"missed", l.missed},
                      {"predictor_bytes", l.predictor_bytes},
                      {"bytes", l.bytes},
                      {"exact_bytes", l.exact_bytes},
                      {"head_predictor", l.head_predictor},
                      {"head_density", l.head_density},
                      {"head_recall", l.head_recall},
                      {"head_missed", l.head_missed},
                      {"attention_bytes", l.attention_bytes},
                      {"attention_exact_bytes", l.attention_exact_bytes}});
  for (const CompareRow& r : report.rows)
    modes[r.name] = {{"perplexity", r.perplexity},
                     {"kl", r.kl},
                     {"top1", r.top1},
                     {"density_mlp", r.density_mlp},
                     {"density_heads", r.density_heads},
                     {"bytes_per_token", r.bytes_per_token},
                     {"tokens_per_s", r.tokens_per_s}};
  return {{"out", out},
          {"method", report.method},
          {"met", report.met},
          {"n_train", report.n_train},
          {"n_calibrate", report.n_calibrate},
          {"n_check", report.n_check},
          {"layers", layers},
          {"screen", screen_json(report.screen)},
          {"modes", modes},
          {"notes", report.notes}};
}

}  // namespace

int sparsify(const SparsifyFlags& flags) {
  if (flags.text.empty())
    fail(ErrorKind::kUsage, "on which text? give --text FILE, some 200 KB like what the model will read");
  if (flags.prefill) return sparsify_prompts(flags);
  if (flags.prefill_recall) fail(ErrorKind::kUsage, "--prefill-recall goes with --prefill");
  if (flags.prefill_neurons) fail(ErrorKind::kUsage, "--prefill-neurons goes with --prefill");
  SparsifyOptions options = options_of(flags);
  const std::string out = flags.out.empty() ? sidecar_path(resolve_model(flags.model)).string() : flags.out;
  check_output(out, inputs_of(flags.model, {flags.text}), flags.force, "-o");
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  // Enough of the text for the tokens that will be used: tokenising megabytes for nothing takes longer than tracing.
  const size_t n_bytes = std::min(text.size(), std::min<size_t>(options.max_tokens, 400000) * 16);
  const std::vector<int32_t> ids = engine.encode(std::string_view(text).substr(0, n_bytes));
  print_first_line(engine, flags.model, {}, 0, 0);
  options.finished = out + ".partial";
  SparsifyReport report;
  try {
    ProgressBar bar(!flags.model.quiet);
    report = sparsify(engine, ids, options, bar.progress());
  } catch (const Error& e) {
    std::error_code ec;
    if (e.kind() == ErrorKind::kInterrupted && !flags.model.quiet && std::filesystem::exists(options.finished, ec))
      note(fmt::format("the layers that were finished are in {}: the same command goes on from there",
                       options.finished.string()));
    throw;
  }
  write_sidecar(out, report.sidecar);
  FitStore::clear(options.finished);
  if (flags.model.json) {
    print_json(report_json(report, out));
  } else {
    print_layers(report);
    print_heads(report);
    print_screen(report.screen);
    print_whole(report);
  }
  if (flags.model.quiet) return report.met ? 0 : 1;
  for (const std::string& line : report.notes) note("note: " + line);
  note(legend(report));
  note(fmt::format("wrote {}; --mode sparse uses it", out));
  return report.met ? 0 : 1;
}

}  // namespace hunch::cli
