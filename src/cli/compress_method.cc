// hunch compress --method: pruning and rounding.
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/compress_flags.h"
#include "cli/compress_price.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "compress/compress_weights.h"
#include "compress/export_folder.h"
#include "compress/mixed_types.h"
#include "io/printable.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kGroup = 128;

// "2:4": keep two of four.
void parse_pattern(const std::string& text, Sparsity& sparsity) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) fail(ErrorKind::kUsage, "--nm: expected N:M, e.g. 2:4, found '{}'", printable(text));
  const uint64_t kept = parse_count(text.substr(0, colon), "--nm"), m = parse_count(text.substr(colon + 1), "--nm");
  if (kept == 0 || kept >= m || m > 128 || 128 % m != 0)
    fail(ErrorKind::kUsage, "--nm: expected N less than M, and M a power of two up to 128, found '{}'",
         printable(text));
  sparsity.m = m;
  sparsity.pruned = m - kept;
}

Sparsity sparsity_of(const CompressFlags& flags, const Methods& methods) {
  Sparsity sparsity;
  if (methods.pruner == Pruner::kNone && (flags.sparsity || flags.pattern))
    fail(ErrorKind::kUsage, "--sparsity and --nm go with a method that prunes: magnitude, wanda, sparsegpt");
  if (flags.sparsity && flags.pattern) fail(ErrorKind::kUsage, "give one only: --sparsity or --nm");
  if (flags.pattern) parse_pattern(*flags.pattern, sparsity);
  if (!flags.sparsity) return sparsity;
  sparsity.share = parse_share(*flags.sparsity, "--sparsity");
  if (!(sparsity.share > 0 && sparsity.share < 1))
    fail(ErrorKind::kUsage, "--sparsity: expected more than 0 and less than 1, found '{}'", *flags.sparsity);
  return sparsity;
}

bool given(const std::string& choice) { return choice != "auto"; }

void read_int8(const CompressFlags& flags, CompressOptions& options) {
  const Rounder rounder = options.methods.rounder;
  if (!rounds_inputs(rounder) && (given(flags.scales) || given(flags.activations) || given(flags.range)))
    fail(ErrorKind::kUsage, "--scales, --activations and --range go with w8a8, smoothquant, zeroquant and llm-int8");
  const bool scales_are_open = rounder == Rounder::kW8A8 || rounder == Rounder::kSmoothQuant;
  if (given(flags.scales) && !scales_are_open)
    fail(ErrorKind::kUsage, "--scales goes with w8a8 and smoothquant; {} says which it has", name_of(options.methods));
  if (given(flags.range) && flags.activations != "static")
    fail(ErrorKind::kUsage, "--range goes with --activations static: a token's own scale spans all of it");
  if (flags.alpha && rounder != Rounder::kSmoothQuant) fail(ErrorKind::kUsage, "--alpha goes with smoothquant");
  if (flags.threshold && rounder != Rounder::kLlmInt8) fail(ErrorKind::kUsage, "--threshold goes with llm-int8");
  Int8Options& int8 = options.int8;
  int8.scales = rounder == Rounder::kZeroQuant ? Int8Scales::kGroups
                : flags.scales == "matrix"     ? Int8Scales::kMatrix
                                               : Int8Scales::kRow;
  int8.static_inputs = flags.activations == "static";
  for (const RangeRule rule : {RangeRule::kMax, RangeRule::kPercentile, RangeRule::kMse, RangeRule::kKl})
    if (flags.range == name_of(rule)) int8.range = rule;
  if (flags.alpha) options.alpha = parse_share(*flags.alpha, "--alpha");
  if (!flags.threshold) return;
  options.outliers_from = float(parse_real(*flags.threshold, "--threshold"));
  if (!(options.outliers_from > 0))
    fail(ErrorKind::kUsage, "--threshold: expected more than 0, found '{}'", printable(*flags.threshold));
}

// Bits of a grid, 4 where nobody says.
int whole_bits(const CompressFlags& flags) {
  const uint64_t bits = flags.bits ? parse_count(*flags.bits, "--bits") : 4;
  if (bits < 2 || bits > 8) fail(ErrorKind::kUsage, "--bits: expected 2 to 8, found {}", bits);
  return int(bits);
}

BlockTarget target_of_flags(const CompressFlags& flags, const Methods& methods, const Engine& engine) {
  const bool rounds = methods.rounder != Rounder::kNone, prunes = methods.pruner != Pruner::kNone;
  if (rounds_inputs(methods.rounder)) {
    if (flags.bits || flags.group || flags.symmetric || flags.type != "auto")
      fail(ErrorKind::kUsage, "{} writes int8 with scales of its own: no --bits, --group, --symmetric or --type",
           name_of(methods));
    return {DType::kI8, {}};
  }
  if (!flags.bits && (flags.group || flags.symmetric))
    fail(ErrorKind::kUsage, "--group and --symmetric go with --bits");
  if (flags.bits) {
    if (!rounds || methods.rounder == Rounder::kNf4)
      fail(ErrorKind::kUsage, "--bits goes with a method that rounds to grids: rtn, gptq, awq");
    if (flags.type != "auto") fail(ErrorKind::kUsage, "give one only: --bits or --type");
    return target_of({whole_bits(flags), flags.symmetric || prunes, size_t(flags.group.value_or(kGroup)), false});
  }
  if (flags.type != "auto") return {*dtype_from_name(flags.type), {}};  // the grammar let only names pass
  if (methods.rounder == Rounder::kNf4) return {DType::kNF4, {}};
  if (rounds) return {prunes ? DType::kQ4_0 : DType::kQ4_K, {}};
  const DType own = engine.model->main_dtype();
  return {info(own).is_float() && info(own).writes() ? own : DType::kF16, {}};
}

// "--bits 4.5" or --max-ppl-increase: types for each matrix, chosen when the model is there.
std::optional<MixedBudget> mixed_budget(const CompressFlags& flags) {
  MixedBudget budget;
  if (flags.bits && flags.bits->find('.') != std::string::npos) {
    budget.bits = parse_real(*flags.bits, "--bits");
    if (!(*budget.bits >= 2 && *budget.bits <= 16))
      fail(ErrorKind::kUsage, "--bits: expected 2 to 8, or a mean of 2.0 to 16.0, found '{}'", printable(*flags.bits));
  }
  if (flags.max_ppl_increase) {
    if (flags.bits) fail(ErrorKind::kUsage, "give one only: --bits or --max-ppl-increase");
    budget.max_ppl_increase = parse_share(*flags.max_ppl_increase, "--max-ppl-increase");
  }
  if (!budget.bits && !budget.max_ppl_increase) return std::nullopt;
  if (flags.group || flags.symmetric || flags.type != "auto")
    fail(ErrorKind::kUsage, "a mean of bits is of types that are chosen: no --group, --symmetric or --type");
  return budget;
}

// The layout of the folder that is asked for; none: a file is.
std::optional<ExportLayout> layout_of(const CompressFlags& flags, const Methods& methods) {
  for (const ExportLayout layout : {ExportLayout::kGptq, ExportLayout::kAwq, ExportLayout::kCompressedTensors})
    if (flags.layout == name_of(layout)) return layout;
  if (!flags.out.ends_with('/')) return std::nullopt;
  if (methods.rounder == Rounder::kGptq) return ExportLayout::kGptq;
  return methods.rounder == Rounder::kAwq ? ExportLayout::kAwq : ExportLayout::kCompressedTensors;
}

ExportForm form_of(const CompressFlags& flags, ExportLayout layout, const Engine& engine, CompressOptions& options) {
  return export_form(engine, layout, {whole_bits(flags), flags.symmetric, size_t(flags.group.value_or(kGroup))},
                     options);
}

CompressOptions options_of(const CompressFlags& flags, const Engine& engine) {
  CompressOptions options;
  options.methods = parse_methods(*flags.method);
  options.sparsity = sparsity_of(flags, options.methods);
  if (!layout_of(flags, options.methods))
    options.target =
        mixed_budget(flags) ? BlockTarget{DType::kQ8_0, {}} : target_of_flags(flags, options.methods, engine);
  read_int8(flags, options);
  if (flags.scope == "global") options.scope = PruneScope::kGlobal;
  if (flags.scope == "row") options.scope = PruneScope::kRow;
  options.damping = flags.damping;
  options.act_order = flags.act_order;
  options.without_zeros = !flags.dense_blocks;
  options.dense_inputs = flags.inputs == "dense" || (flags.inputs == "auto" && scales_inputs(options.methods.rounder));
  options.n_tokens = flags.max_tokens;
  if (!flags.only.empty()) options.roles = parse_roles(flags.only, "--only");
  if (!flags.rotate_inputs.empty()) options.rotated = parse_roles(flags.rotate_inputs, "--rotate-inputs");
  options.text_name = std::filesystem::path(flags.text).filename().string();
  return options;
}

Json report_json(const CompressReport& report, const CompressFlags& flags, const CompressOptions& options,
                 const MixedTypes& mixed, const CompressPrice& price, double seconds) {
  Json roles = Json::object();
  for (const auto& [role, r] : report.roles)
    roles[name_of(role)] = {{"n_matrices", r.n_matrices},
                            {"error", r.error},
                            {"worst_error", r.worst},
                            {"n_weights", r.n_weights},
                            {"n_zeros", r.n_zeros},
                            {"bytes_before", r.bytes_before},
                            {"bytes", r.bytes}};
  Json json = {{"out", flags.out},
               {"method", name_of(options.methods)},
               {"type", name_of(options.target.dtype)},
               {"inputs", options.dense_inputs ? "dense" : "compressed"},
               {"n_tokens", report.n_tokens},
               {"n_resumed", report.n_resumed},
               {"seconds", seconds},
               {"roles", roles},
               {"bytes_before", report.bytes_before},
               {"bytes", report.bytes},
               {"notes", report.notes}};
  if (const SparseReport& s = report.sparse; !s.matrices.empty())
    json["sparse"] = {{"n_tensors", s.matrices.size()},
                      {"n_weights", s.n_weights},
                      {"n_zeros", s.n_zeros},
                      {"dense_bytes", s.dense_bytes},
                      {"bytes", s.bytes}};
  if (!mixed.tensors.empty()) {
    json["bits"] = mixed.bits;
    for (const MixedTensor& t : mixed.tensors)
      json["types"][t.name] = {{"type", name_of(t.type())},
                               {"loss", t.choices[t.chosen].loss},
                               {"bits", 8 * double(t.choices[t.chosen].bytes) / double(t.n_weights)}};
    if (mixed.before > 0) json["text_perplexity"] = mixed.perplexity, json["text_perplexity_before"] = mixed.before;
  }
  if (const auto layout = layout_of(flags, options.methods)) json["layout"] = name_of(*layout);
  if (options.target.grid) json["bits"] = options.target.grid->bits, json["group"] = options.target.grid->group;
  put_price(price, json);
  return json;
}

void print_report(const CompressReport& report) {
  std::vector<std::vector<std::string>> cells = {
      {"matrix", "layers", "output error", "worst", "zeros", "bits each", "before", "after"}};
  for (const auto& [role, r] : report.roles)
    cells.push_back({name_of(role), std::to_string(r.n_matrices), share_text(r.error), share_text(r.worst),
                     share_text(double(r.n_zeros) / double(r.n_weights)),
                     fmt::format("{:.2f}", 8 * double(r.bytes) / double(r.n_weights)),
                     human_bytes(double(r.bytes_before)), human_bytes(double(r.bytes))});
  print(table(cells));
}

// A row for each layer, a column for each kind of matrix.
void print_types(const MixedTypes& mixed) {
  std::vector<Role> roles;
  for (const MixedTensor& t : mixed.tensors)
    if (std::ranges::find(roles, t.id.role) == roles.end()) roles.push_back(t.id.role);
  std::ranges::sort(roles);
  std::vector<std::vector<std::string>> cells = {{"layer"}};
  for (const Role role : roles) cells[0].push_back(name_of(role));
  for (const MixedTensor& t : mixed.tensors) {
    if (cells.back()[0] != std::to_string(t.id.layer)) cells.push_back({std::to_string(t.id.layer)});
    cells.back().resize(cells[0].size());
    cells.back()[1 + size_t(std::ranges::find(roles, t.id.role) - roles.begin())] = name_of(t.type());
  }
  print(table(cells));
  std::string line = fmt::format("{:.3f} bits of a weight in the mean", mixed.bits);
  if (mixed.before > 0)
    line += fmt::format("; perplexity of the text {:.4f}, {:.4f} before, when rounded to the nearest", mixed.perplexity,
                        mixed.before);
  print(line + "\n");
}

}  // namespace

void check_method_flags(const CompressFlags& flags) {
  CompressOptions options;
  options.methods = parse_methods(*flags.method);
  sparsity_of(flags, options.methods);
  read_int8(flags, options);
  if (mixed_budget(flags) && options.methods.rounder != Rounder::kNearest && options.methods.rounder != Rounder::kGptq)
    fail(ErrorKind::kUsage, "a mean of bits goes with rtn and gptq, alone or after a pruner: the method is {}",
         name_of(options.methods));
  if (!flags.rotate_inputs.empty()) {
    options.rotated = parse_roles(flags.rotate_inputs, "--rotate-inputs");
    if (!flags.only.empty()) options.roles = parse_roles(flags.only, "--only");
    check_rotated_roles(options);
  }
  if (flags.scope != "auto" && (options.methods.pruner != Pruner::kMagnitude || flags.pattern))
    fail(ErrorKind::kUsage, "--scope goes with magnitude and --sparsity, or with structured");
  if (flags.scope == "layer")
    fail(ErrorKind::kUsage, "--scope layer goes with structured; magnitude has global, matrix and row");
  if (layout_of(flags, options.methods)) {
    if (flags.type != "auto" || flags.dense_blocks)
      fail(ErrorKind::kUsage, "--type and --dense-blocks are of GGUF files; a folder has --bits and --group");
    check_no_rotated_inputs(flags);
    if (mixed_budget(flags) || flags.scope != "auto")
      fail(ErrorKind::kUsage, "a mean of bits, --max-ppl-increase and --scope are of GGUF files, not of folders");
    if (rounds_inputs(options.methods.rounder) && (flags.bits || flags.group || flags.symmetric))
      fail(ErrorKind::kUsage, "{} writes int8 with scales of its own: no --bits, --group or --symmetric",
           name_of(options.methods));
  }
  if (flags.damping != CompressFlags().damping && options.methods.rounder != Rounder::kGptq &&
      options.methods.pruner != Pruner::kSparseGpt)
    fail(ErrorKind::kUsage, "--damping goes with gptq and sparsegpt");
  if (flags.dense_blocks && options.methods.pruner == Pruner::kNone)
    fail(ErrorKind::kUsage, "--dense-blocks goes with a method that prunes: magnitude, wanda, sparsegpt");
  if (flags.rank) fail(ErrorKind::kUsage, "--rank goes with --method svd, asvd or svd-llm");
  if (flags.low_rank || flags.plain)
    fail(ErrorKind::kUsage, "give one only: --method or --low-rank (with --plain); one after the other is two runs");
  if (flags.text.empty())
    fail(ErrorKind::kUsage, "on which text? give --text FILE, some 100 KB like what the model will read");
}

int compress_by_method(const CompressFlags& flags) {
  check_method_flags(flags);
  std::vector<std::string> inputs = {flags.text};
  if (!flags.eval.empty()) inputs.push_back(flags.eval);
  const std::optional<ExportLayout> layout = layout_of(flags, parse_methods(*flags.method));
  (layout ? check_output_folder : check_output)(flags.out, inputs_of(flags.model, inputs), flags.force, "-o");
  const std::string text = read_text(flags.text), held_out = flags.eval.empty() ? "" : read_text(flags.eval);
  const auto started = std::chrono::steady_clock::now();
  CompressOptions options;
  CompressReport report;
  MixedTypes mixed;
  CompressPrice price;
  double seconds = 0;
  {
    const Engine engine = open_engine(flags.model);
    options = options_of(flags, engine);
    const std::vector<int32_t> ids = engine.encode(text);
    print_first_line(engine, flags.model, {}, 0, 0);
    options.finished = flags.out.substr(0, flags.out.find_last_not_of('/') + 1) + ".partial";
    if (const std::optional<MixedBudget> budget = mixed_budget(flags)) {
      ProgressBar bar(!flags.model.quiet);
      mixed = choose_types(engine, ids, options, *budget, bar.progress());
      options.types = mixed.types();
      if (find_code_layout(mixed.main_type())) options.target = {mixed.main_type(), {}};
    }
    try {
      ProgressBar bar(!flags.model.quiet);
      if (layout) {
        const ExportForm form = form_of(flags, *layout, engine, options);
        report = export_folder(engine, resolve_model(flags.model), ids, options, form, flags.out, flags.force,
                               bar.progress());
      } else {
        report = compress_weights(engine, ids, options, flags.out, bar.progress());
      }
    } catch (const Error& e) {
      std::error_code ec;
      if (e.kind() == ErrorKind::kInterrupted && !flags.model.quiet && std::filesystem::exists(options.finished, ec))
        note(fmt::format("the layers that were finished are in {}: the same command goes on from there",
                         options.finished.string()));
      throw;
    }
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    price.before = price_before(engine, flags, held_out);
  }
  price.after = price_after(flags, held_out);
  if (flags.model.json) {
    print_json(report_json(report, flags, options, mixed, price, seconds));
  } else {
    if (!mixed.tensors.empty()) print_types(mixed);
    print_report(report);
    print_price(price);
  }
  if (flags.model.quiet) return 0;
  for (const std::string& line : report.notes) note("note: " + line);
  if (const std::string line = describe(report.sparse); !line.empty())
    note("note: " + line + "; --dense-blocks writes ordinary blocks, which other programs read");
  if (report.n_resumed > 0) note(fmt::format("note: {} layers were finished before", report.n_resumed));
  note(fmt::format("output error: ||(W - W') X|| / ||W X|| over {} tokens of the text, mean over the layers.",
                   grouped(report.n_tokens)));
  note(fmt::format("wrote {}: {} ({} before), in {:.0f} s", flags.out, human_bytes(double(report.bytes)),
                   human_bytes(double(report.bytes_before)), seconds));
  return 0;
}

}  // namespace hunch::cli
