// hunch compress --method loftq: rounded matrices with low rank beside them.
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
#include "compress/loftq_file.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

void check_flags(const CompressFlags& flags) {
  if (flags.bits || flags.max_ppl_increase || flags.group || flags.symmetric)
    fail(ErrorKind::kUsage,
         "loftq rounds to --type: --bits, --max-ppl-increase, --group and --symmetric are of rtn, gptq "
         "and awq");
  if (flags.sparsity || flags.pattern || flags.scope != "auto" || flags.dense_blocks || flags.act_order ||
      flags.low_rank || flags.plain || flags.inputs != "auto" || flags.damping != CompressFlags().damping)
    fail(ErrorKind::kUsage,
         "--sparsity, --nm, --scope, --dense-blocks, --act-order, --damping, --low-rank, --plain and --inputs are of "
         "other methods than loftq");
  check_no_int8(flags);
  check_no_folder(flags);
  check_no_rotated_inputs(flags);
}

LoftqOptions options_of(const CompressFlags& flags) {
  LoftqOptions options;
  if (flags.rank) options.rank = size_t(parse_count(*flags.rank, "--rank"));
  options.rounds = size_t(flags.rounds.value_or(options.rounds));
  options.target = {flags.type == "auto" ? DType::kQ4_0 : *dtype_from_name(flags.type), {}};
  if (!flags.only.empty()) options.roles = parse_roles(flags.only, "--only");
  options.n_tokens = flags.max_tokens;
  options.text_name = std::filesystem::path(flags.text).filename().string();
  return options;
}

Json report_json(const LoftqReport& report, const CompressFlags& flags, const LoftqOptions& options,
                 const CompressPrice& price) {
  Json roles = Json::object();
  for (const auto& [role, r] : report.roles)
    roles[name_of(role)] = {{"n_matrices", r.n_matrices},     {"error", r.error},
                            {"rounded_error", r.rounded},     {"n_weights", r.n_weights},
                            {"bytes_before", r.bytes_before}, {"bytes", r.bytes}};
  Json json = {{"out", flags.out},
               {"method", "loftq"},
               {"type", name_of(options.target.dtype)},
               {"rank", options.rank},
               {"rounds", options.rounds},
               {"n_tokens", report.n_tokens},
               {"roles", roles},
               {"bytes_before", report.bytes_before},
               {"bytes", report.bytes},
               {"notes", report.notes}};
  put_price(price, json);
  return json;
}

void print_report(const LoftqReport& report) {
  std::vector<std::vector<std::string>> cells = {
      {"matrix", "layers", "rounded", "and low rank", "bits each", "before", "after"}};
  for (const auto& [role, r] : report.roles)
    cells.push_back({name_of(role), std::to_string(r.n_matrices), share_text(r.rounded), share_text(r.error),
                     fmt::format("{:.2f}", 8 * double(r.bytes) / double(r.n_weights)),
                     human_bytes(double(r.bytes_before)), human_bytes(double(r.bytes))});
  print(table(cells));
}

}  // namespace

int compress_loftq(const CompressFlags& flags) {
  check_flags(flags);
  const LoftqOptions options = options_of(flags);
  std::vector<std::string> inputs;
  for (const std::string& file : {flags.text, flags.eval})
    if (!file.empty()) inputs.push_back(file);
  check_output(flags.out, inputs_of(flags.model, inputs), flags.force, "-o");
  const std::string text = flags.text.empty() ? "" : read_text(flags.text);
  const std::string held_out = flags.eval.empty() ? "" : read_text(flags.eval);
  LoftqReport report;
  CompressPrice price;
  {
    const Engine engine = open_engine(flags.model);
    const std::vector<int32_t> ids = text.empty() ? std::vector<int32_t>() : engine.encode(text);
    print_first_line(engine, flags.model, {}, 0, 0);
    {
      ProgressBar bar(!flags.model.quiet);
      report = hunch::compress_loftq(engine, ids, options, flags.out, bar.progress());
    }
    price.before = price_before(engine, flags, held_out);
  }
  price.after = price_after(flags, held_out);
  if (flags.model.json) {
    print_json(report_json(report, flags, options, price));
  } else {
    print_report(report);
    print_price(price);
  }
  if (flags.model.quiet) return 0;
  for (const std::string& line : report.notes) note("note: " + line);
  note(report.n_tokens
           ? fmt::format("errors: ||(W - W') X|| / ||W X|| over {} tokens of the text, mean over the layers.",
                         grouped(report.n_tokens))
           : "errors: ||W - W'|| / ||W||, mean over the layers; with --text of the outputs, which then are what is "
             "fitted.");
  note(fmt::format("wrote {}: {} ({} before)", flags.out, human_bytes(double(report.bytes)),
                   human_bytes(double(report.bytes_before))));
  return 0;
}

}  // namespace hunch::cli
