// hunch bench: speed of prompt processing and generation, and of the machine.
#include "engine/bench.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/drafting_flags.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "engine/bench_drafts.h"
#include "kernels/simd_target.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

Json machine_json(const MachineSpeed& speed) {
  const MachineInfo info = machine_info();
  return {{"cpu", info.cpu},
          {"simd_target", info.simd_target},
          {"n_cores", info.n_cores},
          {"memory_bytes", info.memory_bytes},
          {"n_threads", speed.n_threads},
          {"read_gb_per_s", speed.read_gb_per_s}};
}

// Measures afresh, and keeps it.
int bench_machine(const BenchFlags& flags) {
  if (!flags.model.force_target.empty()) force_simd_target(flags.model.force_target);
  ThreadPool pool(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
  const MachineSpeed speed = measure_machine(pool);
  cache_machine_speed(speed);
  if (flags.model.json) {
    print_json({{"machine", machine_json(speed)}});
    return 0;
  }
  const MachineInfo info = machine_info();
  print(table({{"cpu", info.cpu},
               {"simd target", info.simd_target},
               {"cores", std::to_string(info.n_cores)},
               {"memory", human_bytes(double(info.memory_bytes))},
               {"read bandwidth", fmt::format("{:.1f} GB/s with {} threads", speed.read_gb_per_s, speed.n_threads)}},
              {1}));
  return 0;
}

}  // namespace

int bench(const BenchFlags& flags) {
  if (flags.machine) return bench_machine(flags);
  if (flags.prompt.empty() && flags.generate.empty())
    fail(ErrorKind::kUsage, "nothing to measure: --prompt and --generate are both empty");
  if (flags.n_repeats == 0) fail(ErrorKind::kUsage, "--repeats: expected at least 1, found 0");
  if (flags.drafting.any() && flags.text.empty())
    fail(ErrorKind::kUsage, "drafts are as good as the text is regular: --text FILE goes with --lossless, --ngram or --draft");
  const std::string text = flags.text.empty() ? "" : read_text(flags.text);
  std::vector<CompareMode> modes;
  if (!flags.compare.empty()) modes = parse_modes(flags.compare, context_options(flags.context));
  for (const CompareMode& mode : modes)
    if (mode.lossless || mode.context.has_oracle())
      fail(ErrorKind::kUsage, "--compare: '{}' has no decoding speed of its own{}", mode.name,
           mode.lossless ? "; use --lossless, --ngram or --draft with --text FILE" : "");
  const Engine engine = open_engine(flags.model);
  print_first_line(engine, flags.model, flags.context, 0, 0);
  std::vector<int32_t> text_ids;
  if (!text.empty()) text_ids = encode_prompt(engine.need_tokenizer(), text, true, false);
  const DraftingOptions drafting = drafting_options(flags.drafting, flags.model, engine);
  const MachineSpeed machine = machine_speed(*engine.pool, flags.model.quiet);
  std::vector<BenchRow> rows;
  {
    ProgressBar bar(!flags.model.quiet);
    rows = bench(engine, context_options(flags.context),
                 {flags.prompt, flags.generate, flags.n_repeats, flags.depth, modes,
                  flags.drafting.any() ? std::span<const int32_t>() : text_ids},
                 bar.progress());
  }
  std::vector<DraftBenchRow> drafted;
  if (drafting.any()) {
    ProgressBar bar(!flags.model.quiet);
    drafted = bench_drafts(engine, context_options(flags.context),
                           {flags.prompt, flags.generate, flags.n_repeats, flags.depth, {}, {}}, drafting,
                           std::span(text_ids).first(std::min<size_t>(text_ids.size(), 64)), bar.progress());
    for (const DraftBenchRow& row : drafted) rows.push_back(row.row);
  }
  if (flags.model.json) {
    Json json = {
        {"machine", machine_json(machine)}, {"model", model_json(engine, flags.model)}, {"rows", Json::array()}};
    for (const BenchRow& row : rows) {
      json["rows"].push_back({{"name", row.name},
                              {"tokens_per_s", row.tokens_per_s},
                              {"tokens_per_s_stddev", row.tokens_per_s_stddev},
                              {"tokens_per_s_median", row.tokens_per_s_median},
                              {"bytes_per_token", row.bytes_per_token},
                              {"gb_per_s", row.gb_per_s},
                              {"bandwidth_share", row.gb_per_s / machine.read_gb_per_s}});
      if (row.speed_up == 0) continue;
      json["rows"].back()["speed_up"] = row.speed_up;
      json["rows"].back()["efficiency"] = row.efficiency;
    }
    for (size_t i = 0; i < drafted.size(); ++i) {
      Json& row = json["rows"][rows.size() - drafted.size() + i];
      row["tokens_per_pass"] = drafted[i].tokens_per_pass;
      row["acceptance"] = drafted[i].acceptance;
    }
    print_json(json);
    return 0;
  }
  std::vector<std::vector<std::string>> cells = {{"row", "tokens/s", "+-", "GB/s", "of bandwidth", "MB/token"}};
  if (modes.size() > 1) cells[0].insert(cells[0].end(), {"speed-up", "efficiency"});
  for (const BenchRow& row : rows) {
    cells.push_back({row.name, fmt::format("{:.2f}", row.tokens_per_s), fmt::format("{:.2f}", row.tokens_per_s_stddev),
                     fmt::format("{:.2f}", row.gb_per_s),
                     fmt::format("{:.0f} %", 100 * row.gb_per_s / machine.read_gb_per_s),
                     fmt::format("{:.1f}", row.bytes_per_token * 1e-6)});
    if (modes.size() > 1)
      cells.back().insert(cells.back().end(), {row.speed_up ? fmt::format("{:.2f}", row.speed_up) : "",
                                               row.speed_up ? fmt::format("{:.2f}", row.efficiency) : ""});
  }
  print(table(cells));
  for (size_t i = 1; i < drafted.size() && !flags.model.quiet; i += 2)
    note(fmt::format("{}: {:.2f} tokens per pass, {:.0f} % of the drafted tokens accepted, {:.2f} times as fast as plain",
                     drafted[i].row.name, drafted[i].tokens_per_pass, drafted[i].acceptance * 100,
                     drafted[i].row.tokens_per_s / drafted[i - 1].row.tokens_per_s));
  if (!flags.model.quiet)
    note(fmt::format("{} on {} threads: {:.1f} GB/s of memory bandwidth", machine_info().cpu, machine.n_threads,
                     machine.read_gb_per_s));
  return 0;
}

}  // namespace hunch::cli
