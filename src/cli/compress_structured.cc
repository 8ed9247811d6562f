// hunch compress --method structured: fewer neurons, heads and layers.
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/compress_flags.h"
#include "cli/compress_price.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "compress/structured.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

void check_flags(const CompressFlags& flags) {
  if (flags.text.empty())
    fail(ErrorKind::kUsage, "on which text? give --text FILE, some 100 KB like what the model will read");
  if (flags.bits || flags.max_ppl_increase || flags.group || flags.symmetric || flags.type != "auto")
    fail(ErrorKind::kUsage,
         "structured keeps the matrices' types: --bits, --max-ppl-increase, --group, --symmetric and --type are of "
         "rounding, which is another run on the file that this one writes");
  if (flags.pattern || flags.dense_blocks || flags.act_order || flags.rank || flags.rounds || flags.low_rank ||
      flags.plain || flags.inputs != "auto" || flags.damping != CompressFlags().damping)
    fail(
        ErrorKind::kUsage,
        "--nm, --dense-blocks, --act-order, --damping, --rank, --rounds, --low-rank, --plain and --inputs are of other "
        "methods than structured");
  check_no_int8(flags);
  check_no_folder(flags);
  check_no_rotated_inputs(flags);
  if (flags.scope == "matrix" || flags.scope == "row")
    fail(ErrorKind::kUsage, "--scope {} goes with magnitude; structured has global and layer", flags.scope);
  if (flags.sparsity || flags.n_dropped) return;
  fail(ErrorKind::kUsage, "how much? give --sparsity SHARE, e.g. 25%, or --layers N, or both");
}

// Heads go where all of q, k, v and o may, neurons where gate, up and down may.
void read_roles(const CompressFlags& flags, StructuredOptions& options) {
  if (flags.only.empty()) return;
  const std::vector<Role> roles = parse_roles(flags.only, "--only");
  const auto has = [&](Role role) { return std::ranges::find(roles, role) != roles.end(); };
  options.heads = has(Role::kQuery) && has(Role::kKey) && has(Role::kValue) && has(Role::kHeads);
  options.neurons = has(Role::kUp) && has(Role::kDown);
  const size_t n = (options.heads ? 4 : 0) + (options.neurons ? 2 + has(Role::kGate) : 0);
  if (n == 0 || n != roles.size())
    fail(ErrorKind::kUsage,
         "--only: units are of several matrices; expected q,k,v,o (heads) or gate,up,down (neurons), "
         "found '{}'",
         printable(flags.only));
}

StructuredOptions options_of(const CompressFlags& flags) {
  StructuredOptions options;
  if (flags.sparsity) {
    options.sparsity = parse_share(*flags.sparsity, "--sparsity");
    if (!(options.sparsity > 0 && options.sparsity < 1))
      fail(ErrorKind::kUsage, "--sparsity: expected more than 0 and less than 1, found '{}'",
           printable(*flags.sparsity));
  }
  options.n_dropped = size_t(flags.n_dropped.value_or(0));
  options.uniform = flags.scope == "layer";
  options.multiple = size_t(flags.multiple.value_or(options.multiple));
  options.compensate = !flags.no_bias;
  options.n_tokens = flags.max_tokens;
  options.text_name = std::filesystem::path(flags.text).filename().string();
  read_roles(flags, options);
  return options;
}

double share_gone(const StructuredReport& r) {
  return 1 - double(r.n_weights) / double(std::max<uint64_t>(1, r.n_weights_before));
}

Json report_json(const StructuredReport& report, const CompressFlags& flags, const CompressPrice& price,
                 double seconds) {
  Json layers = Json::array();
  for (size_t l = 0; l < report.layers.size(); ++l) {
    const KeptUnits& k = report.layers[l];
    Json layer = {{"dropped", k.dropped}, {"influence", report.influence[l]}};
    if (!k.dropped)
      layer.update({{"groups", k.groups.size()},
                    {"n_groups", k.n_groups},
                    {"neurons", k.neurons.size()},
                    {"n_neurons", k.n_neurons}});
    layers.push_back(std::move(layer));
  }
  Json json = {{"out", flags.out},
               {"method", "structured"},
               {"n_tokens", report.n_tokens},
               {"seconds", seconds},
               {"sparsity", share_gone(report)},
               {"n_weights_before", report.n_weights_before},
               {"n_weights", report.n_weights},
               {"layers", std::move(layers)},
               {"bytes_before", report.bytes_before},
               {"bytes", report.bytes},
               {"notes", report.notes}};
  put_price(price, json);
  return json;
}

void print_report(const StructuredReport& report) {
  std::vector<std::vector<std::string>> cells = {{"layer", "influence", "key heads", "neurons"}};
  for (size_t l = 0; l < report.layers.size(); ++l) {
    const KeptUnits& k = report.layers[l];
    const auto of = [&](const std::vector<uint32_t>& kept, size_t n) {
      return k.dropped ? "-" : n == 0 ? "" : fmt::format("{} of {}", kept.size(), n);
    };
    cells.push_back({std::to_string(l), fmt::format("{:.4f}", report.influence[l]), of(k.groups, k.n_groups),
                     of(k.neurons, k.n_neurons)});
  }
  print(table(cells));
}

}  // namespace

int compress_structured(const CompressFlags& flags) {
  check_flags(flags);
  const StructuredOptions options = options_of(flags);
  std::vector<std::string> inputs = {flags.text};
  if (!flags.eval.empty()) inputs.push_back(flags.eval);
  check_output(flags.out, inputs_of(flags.model, inputs), flags.force, "-o");
  const std::string text = read_text(flags.text), held_out = flags.eval.empty() ? "" : read_text(flags.eval);
  const auto started = std::chrono::steady_clock::now();
  StructuredReport report;
  CompressPrice price;
  double seconds = 0;
  {
    const Engine engine = open_engine(flags.model);
    const std::vector<int32_t> ids = engine.encode(text);
    print_first_line(engine, flags.model, {}, 0, 0);
    {
      ProgressBar bar(!flags.model.quiet);
      report = prune_structured(engine, ids, options, flags.out, bar.progress());
    }
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    price.before = price_before(engine, flags, held_out);
  }
  price.after = price_after(flags, held_out);
  if (flags.model.json) {
    print_json(report_json(report, flags, price, seconds));
  } else {
    print_report(report);
    print_price(price);
  }
  if (flags.model.quiet) return 0;
  for (const std::string& line : report.notes) note("note: " + line);
  note(fmt::format("influence: 1 - cos of the stream before and behind the layer, mean over {} tokens of the text.",
                   grouped(report.n_tokens)));
  note(fmt::format("wrote {}: {} ({} before), {} of the layers' weights less, in {:.0f} s", flags.out,
                   human_bytes(double(report.bytes)), human_bytes(double(report.bytes_before)),
                   share_text(share_gone(report)), seconds));
  return 0;
}

}  // namespace hunch::cli
