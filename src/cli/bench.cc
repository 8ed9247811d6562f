// hunch bench: speed of prompt processing and generation, and of the machine.
#include "measure/bench.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/disk_text.h"
#include "cli/drafting_flags.h"
#include "cli/page_text.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/stage_table.h"
#include "cli/table.h"
#include "engine/cost_file.h"
#include "io/printable.h"
#include "kernels/simd_target.h"
#include "measure/bench_batch.h"
#include "measure/bench_drafts.h"

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

Json json_of(const BenchRow& row, const MachineSpeed& machine) {
  Json json = {{"name", row.name},
               {"tokens_per_s", row.tokens_per_s},
               {"tokens_per_s_stddev", row.tokens_per_s_stddev},
               {"tokens_per_s_median", row.tokens_per_s_median},
               {"bytes_per_token", row.bytes_per_token},
               {"gb_per_s", row.gb_per_s},
               {"bandwidth_share", row.gb_per_s / machine.read_gb_per_s}};
  if (row.pages.n_choices) json["pages"] = pages_json(row.pages);
  if (row.costs.n_passes()) json["stages"] = stages_json(row.costs);
  if (row.disk.n_pieces + row.disk.n_neurons) json["disk"] = disk_json(row.disk, row.n_tokens);
  if (row.speed_up == 0) return json;
  json["speed_up"] = row.speed_up;
  json["efficiency"] = row.efficiency;
  return json;
}

Json json_of(const CostTable::Measured& m) {
  return {{"product", name_of(m.product)},
          {"dtype", name_of(m.dtype)},
          {"n_rows", m.rows},
          {"n_cols", m.cols},
          {"n_sequences", m.n_tokens},
          {"union_share", m.costs.union_break_even(m.rows)},
          {"own_share", m.costs.own_break_even(m.rows, m.n_tokens)},
          {"all_us", m.costs.all * 1e6},
          {"measuring_ms", m.ms}};
}

// "own 12 %, union 88 %"; empty where no rows were chosen.
std::string paths_text(const BatchBenchRow& row) {
  std::string text;
  for (size_t i = 0; i < kNumRowPaths; ++i)
    if (row.paths[i] > 0)
      text += fmt::format("{}{} {:.0f} %", text.empty() ? "" : ", ", name_of(RowPath(i)), 100 * row.paths[i]);
  return text;
}

// Where reading the union, or each sequence's own rows, stops being faster than reading all.
void note_break_evens(const CostTable& costs) {
  const auto measured = costs.measured();
  if (measured.empty()) return;
  std::vector<std::vector<std::string>> cells = {
      {"break-even", "sequences", "union", "own rows", "all rows, us", "measured in, ms"}};
  for (const CostTable::Measured& m : measured)
    cells.push_back({fmt::format("{} {} x {} {}", name_of(m.product), m.rows, m.cols, name_of(m.dtype)),
                     std::to_string(m.n_tokens), fmt::format("{:.0f} %", 100 * m.costs.union_break_even(m.rows)),
                     fmt::format("{:.1f} %", 100 * m.costs.own_break_even(m.rows, m.n_tokens)),
                     fmt::format("{:.0f}", m.costs.all * 1e6), fmt::format("{:.1f}", m.ms)});
  std::string text = table(cells);
  text.pop_back();  // note() ends the line
  note(text);
}

// Measures afresh, and keeps it.
int bench_machine(const BenchFlags& flags) {
  if (!flags.model.force_target.empty()) force_simd_target(flags.model.force_target);
  Compute compute(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
  compute.stop = &interrupt_stop();
  const MachineSpeed speed = measure_machine(compute);
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

// GB/s that memory was seen to give: what was decoded, unless the model may lie in a cache.
double most_read(const Engine& engine, std::span<const BenchRow> rows) {
  constexpr size_t kBeyondCaches = size_t{256} << 20;
  double most = 0;
  if (engine.model->bytes_per_token() > kBeyondCaches)
    for (const BenchRow& row : rows) most = std::max(most, row.gb_per_s);
  return most;
}

// Several policies of the cache are measured in turn, and no longer the context's own.
std::vector<CompareMode> policy_modes(ContextFlags& context) {
  std::vector<CompareMode> modes;
  if (context.kv_policies.size() < 2) return modes;
  ContextFlags one = context;
  for (const std::string& policy : std::exchange(context.kv_policies, {})) {
    one.kv_policies = {policy};
    modes.push_back({policy == "none" ? "all keys" : policy, context_options(one)});
  }
  return modes;
}

}  // namespace

int bench(const BenchFlags& flags) {
  if (flags.machine) return bench_machine(flags);
  if (flags.prompt.empty() && flags.generate.empty())
    fail(ErrorKind::kUsage, "nothing to measure: --prompt and --generate are both empty");
  if (flags.n_repeats == 0) fail(ErrorKind::kUsage, "--repeats: expected at least 1, found 0");
  if (flags.drafting.any() && flags.text.empty())
    fail(ErrorKind::kUsage,
         "drafts are as good as the text is regular: --text FILE goes with --lossless, --ngram or --draft");
  if (!flags.batch.empty() && flags.drafting.any())
    fail(ErrorKind::kUsage, "--batch: sequences that decode together do not draft; leave out one of the two");
  if (flags.profile && flags.drafting.any())
    fail(ErrorKind::kUsage, "--profile: rows that draft are not divided into stages; leave out one of the two");
  if (!flags.costs.empty() && flags.batch.empty())
    fail(ErrorKind::kUsage, "--costs: only sequences that decode together choose by them; add --batch");
  const std::string text = flags.text.empty() ? "" : read_text(flags.text);
  ContextFlags context = flags.context;
  std::vector<CompareMode> modes = policy_modes(context);
  if (!flags.compare.empty() && !modes.empty()) fail(ErrorKind::kUsage, "give --compare, or --kv-policy several times");
  if (!flags.compare.empty()) modes = parse_modes(flags.compare, context_options(context));
  for (const CompareMode& mode : modes)
    if (!mode.model.empty())
      fail(ErrorKind::kUsage, "--compare: '{}' is another model; `hunch eval --compare` puts models side by side",
           printable(mode.name));
  for (const CompareMode& mode : modes)
    if (mode.lossless || mode.context.has_oracle())
      fail(ErrorKind::kUsage, "--compare: '{}' has no decoding speed of its own{}", mode.name,
           mode.lossless ? "; use --lossless, --ngram or --draft with --text FILE" : "");
  const Engine engine = open_engine(flags.model);
  load_plans(engine, modes);
  print_first_line(engine, flags.model, flags.context, 0, 0);
  std::vector<int32_t> text_ids;
  if (!text.empty()) text_ids = encode_prompt(engine.need_tokenizer(), text, true, false);
  ContextOptions own = context_options(context);
  const std::shared_ptr<const KeySelector> draft_keys = take_draft_keys(flags.drafting, own);
  const DraftingOptions drafting = drafting_options(flags.drafting, flags.model, engine, draft_keys);
  reading_speed(engine, flags.model.quiet);  // before, when it was never measured
  std::vector<BenchRow> rows;
  const auto generate = flags.batch.empty() ? flags.generate : std::vector<size_t>();
  if (!flags.prompt.empty() || !generate.empty()) {
    ProgressBar bar(!flags.model.quiet);
    rows = bench(engine, context_options(context),
                 {flags.prompt, generate, flags.n_repeats, flags.depth, modes,
                  flags.drafting.any() ? std::span<const int32_t>() : text_ids, flags.profile},
                 bar.progress());
  }
  std::vector<BatchBenchRow> batched;
  if (!flags.batch.empty()) {
    CostTable& costs = engine.model->layouts().costs();
    if (!flags.costs.empty() && std::filesystem::exists(flags.costs)) pin_costs(costs, flags.costs);
    ProgressBar bar(!flags.model.quiet);
    batched =
        bench_batch(engine, context_options(context),
                    {{{}, flags.generate, flags.n_repeats, flags.depth, modes, text_ids, flags.profile}, flags.batch},
                    bar.progress());
    for (const BatchBenchRow& row : batched) rows.push_back(row.row);
    if (!flags.costs.empty()) write_costs(costs, flags.costs);
  }
  std::vector<DraftBenchRow> drafted;
  if (drafting.any()) {
    ProgressBar bar(!flags.model.quiet);
    drafted = bench_drafts(engine, own, {flags.prompt, flags.generate, flags.n_repeats, flags.depth, {}, {}}, drafting,
                           std::span(text_ids).first(std::min<size_t>(text_ids.size(), 64)), bar.progress());
    for (const DraftBenchRow& row : drafted) rows.push_back(row.row);
  }
  const MachineSpeed machine = reading_speed(engine, flags.model.quiet, most_read(engine, rows));
  if (flags.model.json) {
    Json json = {
        {"machine", machine_json(machine)}, {"model", model_json(engine, flags.model)}, {"rows", Json::array()}};
    for (const BenchRow& row : rows) json["rows"].push_back(json_of(row, machine));
    for (size_t i = 0; i < batched.size(); ++i) {
      Json& row = json["rows"][rows.size() - batched.size() + i];
      row["n_sequences"] = batched[i].n_sequences;
      row["union_share"] = batched[i].union_share;
      for (size_t path = 0; path < kNumRowPaths; ++path) row["paths"][name_of(RowPath(path))] = batched[i].paths[path];
    }
    if (!batched.empty()) {
      json["break_even"] = Json::array();
      for (const CostTable::Measured& m : engine.model->layouts().costs().measured())
        json["break_even"].push_back(json_of(m));
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
  if (!batched.empty()) cells[0].insert(cells[0].end(), {"union", "rows read"});
  std::vector<std::string> names;
  for (const BenchRow& row : rows) names.push_back(row.name);
  names = without_folders(names);
  for (const BenchRow& row : rows) {
    cells.push_back({names[size_t(&row - rows.data())], fmt::format("{:.2f}", row.tokens_per_s),
                     fmt::format("{:.2f}", row.tokens_per_s_stddev), fmt::format("{:.2f}", row.gb_per_s),
                     fmt::format("{:.0f} %", 100 * row.gb_per_s / machine.read_gb_per_s),
                     fmt::format("{:.1f}", row.bytes_per_token * 1e-6)});
    if (modes.size() > 1)
      cells.back().insert(cells.back().end(), {row.speed_up ? fmt::format("{:.2f}", row.speed_up) : "",
                                               row.speed_up ? fmt::format("{:.2f}", row.efficiency) : ""});
    if (batched.empty()) continue;
    const size_t at = cells.size() - 2, first = rows.size() - batched.size();  // batched rows are the last
    const std::string how = at < first ? "" : paths_text(batched[at - first]);
    cells.back().insert(cells.back().end(),
                        {how.empty() ? "" : fmt::format("{:.0f} %", 100 * batched[at - first].union_share), how});
  }
  print(table(cells, batched.empty() ? std::vector<size_t>() : std::vector<size_t>{cells[0].size() - 1}));
  for (const BenchRow& row : rows)
    if (row.costs.n_passes()) print("\n" + stage_table(row, machine.read_gb_per_s));
  for (const BenchRow& row : rows)
    if (const std::string read = describe_pages(row.pages); !flags.model.quiet && !read.empty())
      note(fmt::format("{}: {}", row.name, read));
  for (const BenchRow& row : rows)
    if (!flags.model.quiet && row.disk.n_pieces + row.disk.n_neurons > 0)
      note(fmt::format("{}: {}", row.name, describe(row.disk, row.n_tokens)));
  if (!batched.empty() && !flags.model.quiet) note_break_evens(engine.model->layouts().costs());
  for (size_t i = 1; i < drafted.size() && !flags.model.quiet; i += 2)
    note(fmt::format(
        "{}: {:.2f} tokens per pass, {:.0f} % of the drafted tokens accepted, {:.2f} times as fast as plain",
        drafted[i].row.name, drafted[i].tokens_per_pass, drafted[i].acceptance * 100,
        drafted[i].row.tokens_per_s / drafted[i - 1].row.tokens_per_s));
  if (!flags.model.quiet)
    note(engine.device
             ? fmt::format("{}: {:.1f} GB/s of memory bandwidth", engine.device->name(), machine.read_gb_per_s)
             : fmt::format("{} on {} threads: {:.1f} GB/s of memory bandwidth", machine_info().cpu, machine.n_threads,
                           machine.read_gb_per_s));
  return 0;
}

}  // namespace hunch::cli
