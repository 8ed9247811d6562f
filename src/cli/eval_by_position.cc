#include "cli/eval_by_position.h"

#include <algorithm>
#include <deque>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/report/position_page.h"
#include "cli/report_files.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "io/printable.h"
#include "measure/by_position.h"

namespace hunch::cli {
namespace {

// What --compare lists: ways to stretch RoPE, each an engine of its own over the same mapped weights, and modes of
// MODEL.
struct Stretched {
  std::vector<CompareMode> modes;
  std::deque<Engine> engines;
};

Stretched stretched_modes(const EvalFlags& flags, const Engine& engine) {
  Stretched out;
  const ContextOptions base = context_options(flags.context);
  if (flags.compare.empty()) {
    out.modes = {{flags.model.rope.empty() ? "trained" : flags.model.rope, base}};
    return out;
  }
  for (const std::string& word : split_modes(flags.compare)) {
    if (word == "trained") {
      out.modes.push_back({word, base});
    } else if (const auto rope = rope_choice_from(word)) {
      ModelFlags model = flags.model;
      model.rope = word;
      out.engines.push_back(open_engine(model, engine.compute));
      out.modes.push_back({word, base});
      out.modes.back().engine = &out.engines.back();
    } else {
      out.modes.push_back(parse_modes(word, base)[0]);
      if (out.modes.back().lossless || !out.modes.back().model.empty())
        fail(ErrorKind::kUsage, "--by-position: '{}' is no way to compute MODEL's tokens", printable(word));
    }
  }
  load_plans(engine, out.modes);
  return out;
}

void print_json_of(const EvalFlags& flags, const PositionReport& report, const Engine& engine) {
  nlohmann::ordered_json json = {{"n_ctx", report.n_ctx},
                                 {"n_ctx_train", report.n_ctx_train},
                                 {"n_windows", report.n_windows},
                                 {"curves", nlohmann::ordered_json::object()}};
  for (const PositionCurve& curve : report.curves) {
    auto& points = json["curves"][curve.name] = nlohmann::ordered_json::array();
    for (const PositionBucket& b : curve.buckets)
      points.push_back({{"begin", b.begin},
                        {"end", b.end},
                        {"n", b.n},
                        {"perplexity", b.n ? nlohmann::ordered_json(b.perplexity()) : nlohmann::ordered_json()},
                        {"nll_stderr", b.nll_stderr}});
  }
  json["model"] = model_json(engine, flags.model);
  print_json(json);
}

}  // namespace

int eval_by_position(const EvalFlags& flags) {
  if (flags.text.empty()) fail(ErrorKind::kUsage, "--by-position reads a text: give --text FILE");
  if (flags.stride || !flags.protocol.empty() || !flags.against.empty() || flags.drafting.any() ||
      !flags.context.kv_policies.empty() || !flags.context.experts.empty())
    fail(
        ErrorKind::kUsage,
        "--by-position has windows of its own and names what it compares in --compare: leave out --stride, --protocol, "
        "--against, --kv-policy, --experts and drafts");
  if (!flags.html.empty()) check_output(flags.html, {flags.text}, flags.force, "--html");
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  const Stretched stretched = stretched_modes(flags, engine);
  const std::vector<int32_t> ids = engine.encode(text);
  ByPositionOptions options{flags.context.n_ctx, flags.n_buckets, flags.max_tokens};
  const size_t n_text = options.max_tokens ? std::min(ids.size(), options.max_tokens) : ids.size();
  if (options.n_ctx == 0) options.n_ctx = std::min(8 * engine.config().n_ctx_train, n_text);
  print_first_line(engine, flags.model, flags.context, options.n_ctx, 0);
  PositionReport report{display_name(engine, flags.model),
                        std::filesystem::path(flags.text).filename().string(),
                        fmt::format("hunch eval MODEL --text {} --by-position --ctx {}{}", flags.text, options.n_ctx,
                                    flags.compare.empty() ? "" : " --compare " + flags.compare),
                        options.n_ctx,
                        engine.config().n_ctx_train,
                        n_text / options.n_ctx,
                        {}};
  {
    ProgressBar bar(!flags.model.quiet);
    report.curves = perplexity_by_position(engine, stretched.modes, ids, options, bar.progress());
  }
  if (!flags.html.empty()) write_report_file(flags.html, position_page(report));
  if (flags.model.json) {
    print_json_of(flags, report, engine);
    return 0;
  }
  print(table(position_rows(report)));
  if (flags.model.quiet) return 0;
  note(fmt::format("perplexity by the number of tokens before, {} window{} of {} tokens; trained with {}",
                   report.n_windows, report.n_windows == 1 ? "" : "s", grouped(report.n_ctx),
                   grouped(report.n_ctx_train)));
  if (!flags.html.empty()) note(fmt::format("the figure is in {}", flags.html));
  return 0;
}

}  // namespace hunch::cli
