// hunch compress: a model's matrices as products of two thin ones, or by a method (compress_method.cc).
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/compress_flags.h"
#include "cli/compress_rotate.h"
#include "cli/console.h"
#include "cli/made_by.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "compress/low_rank.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

// Methods that are spellings of what --low-rank does.
std::optional<SvdOf> svd_of(const CompressFlags& flags) {
  for (const SvdOf kind : {SvdOf::kWeights, SvdOf::kScaledWeights, SvdOf::kOutputs})
    if (flags.method == name_of(kind)) return kind;
  return std::nullopt;
}

LowRankOptions options_of(const CompressFlags& flags) {
  LowRankOptions options;
  const std::optional<SvdOf> named = svd_of(flags);
  if (named && (flags.low_rank || flags.plain))
    fail(ErrorKind::kUsage, "--method {} says all that --low-rank and --plain do, with --rank SHARE", *flags.method);
  if (flags.rank && !named) fail(ErrorKind::kUsage, "--rank goes with --method svd, asvd or svd-llm");
  if (!flags.low_rank && !named)
    fail(ErrorKind::kUsage,
         "how? give --method LIST, e.g. gptq, or --low-rank RATIO, the share of the parameters that stay");
  check_no_int8(flags);
  check_no_folder(flags);
  check_no_rotated_inputs(flags);
  if (flags.bits || flags.max_ppl_increase || flags.group || flags.sparsity || flags.pattern || flags.symmetric ||
      flags.act_order || flags.dense_blocks || flags.damping != CompressFlags().damping || flags.scope != "auto" ||
      !flags.eval.empty() || flags.inputs != "auto")
    fail(ErrorKind::kUsage,
         "--bits, --max-ppl-increase, --group, --symmetric, --sparsity, --scope, --nm, --dense-blocks, --act-order, "
         "--damping, --inputs and --eval go with other methods than low rank: --method gptq, for one");
  const char* const option = named ? "--rank" : "--low-rank";
  const std::string ratio = named ? flags.rank.value_or("0.5") : *flags.low_rank;
  options.ratio = parse_share(ratio, option);
  if (!(options.ratio > 0 && options.ratio < 1))
    fail(ErrorKind::kUsage, "{}: expected more than 0 and less than 1, found '{}'", option, ratio);
  options.kind = named ? *named : flags.plain ? SvdOf::kWeights : SvdOf::kOutputs;
  options.n_tokens = flags.max_tokens;
  if (flags.type != "auto") options.dtype = *dtype_from_name(flags.type);  // the grammar let only names pass
  if (!flags.only.empty()) options.roles = parse_roles(flags.only, "--only");
  options.text_name = std::filesystem::path(flags.text).filename().string();
  return options;
}

Json report_json(const LowRankReport& report, const CompressFlags& flags, const LowRankOptions& options) {
  Json roles = Json::object();
  for (const auto& [role, r] : report.roles)
    roles[name_of(role)] = {
        {"n_matrices", r.n_matrices},     {"rank", r.rank},  {"error", r.error}, {"worst_error", r.worst},
        {"bytes_before", r.bytes_before}, {"bytes", r.bytes}};
  return {{"out", flags.out},
          {"method", name_of(options.kind)},
          {"ratio", options.ratio},
          {"type", name_of(report.dtype)},
          {"n_tokens", report.n_tokens},
          {"roles", roles},
          {"bytes_before", report.bytes_before},
          {"bytes", report.bytes},
          {"notes", report.notes}};
}

void print_report(const LowRankReport& report) {
  std::vector<std::vector<std::string>> cells = {
      {"matrix", "layers", "rank", "output error", "worst", "before", "after"}};
  for (const auto& [role, r] : report.roles)
    cells.push_back({name_of(role), std::to_string(r.n_matrices), std::to_string(r.rank), share_text(r.error),
                     share_text(r.worst), human_bytes(double(r.bytes_before)), human_bytes(double(r.bytes))});
  print(table(cells));
}

}  // namespace

int compress(const CompressFlags& flags) {
  if (flags.method == "structured") return compress_structured(flags);
  if (flags.n_dropped || flags.multiple || flags.no_bias)
    fail(ErrorKind::kUsage, "--layers, --multiple and --no-bias go with --method structured");
  if (flags.method == "loftq") return compress_loftq(flags);
  if (flags.rounds) fail(ErrorKind::kUsage, "--rounds goes with --method loftq");
  if (asks_for_rotation(flags)) return compress_rotated(flags);
  if (flags.method && !svd_of(flags)) return compress_by_method(flags);
  const LowRankOptions options = options_of(flags);
  if (flags.text.empty())
    fail(ErrorKind::kUsage, "on which text? give --text FILE, some 100 KB like what the model will read");
  check_output(flags.out, inputs_of(flags.model, {flags.text}), flags.force, "-o");
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  const std::vector<int32_t> ids = engine.encode(text);
  print_first_line(engine, flags.model, {}, 0, 0);
  LowRankReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = compress_low_rank(engine, ids, options, flags.out, bar.progress());
  }
  if (flags.model.json) {
    print_json(report_json(report, flags, options));
  } else {
    print_report(report);
  }
  if (flags.model.quiet) return 0;
  for (const std::string& line : report.notes) note("note: " + line);
  note(fmt::format("output error: ||(W - U V) X|| / ||W X|| over {} tokens of the text, mean over the layers.",
                   grouped(report.n_tokens)));
  note(fmt::format("wrote {}: {} ({} before); `hunch eval {} --text FILE --against {}` prints its price", flags.out,
                   human_bytes(double(report.bytes)), human_bytes(double(report.bytes_before)),
                   shell_word(flags.model.model), shell_word(flags.out)));
  return 0;
}

}  // namespace hunch::cli
