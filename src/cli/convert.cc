// hunch convert, hunch quantize: write a model as GGUF in another dtype.
#include "compress/convert.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/session_io.h"
#include "compress/store_sparse.h"
#include "io/gguf.h"
#include "model/bundles.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

ConvertOptions convert_options(const ConvertFlags& flags) {
  ConvertOptions options;
  options.keep_blocks = flags.type == "auto";
  // The grammar let only known names pass. A name of both is the mix.
  options.mix = find_mix(flags.type);
  if (flags.type != "auto" && !options.mix) options.dtype = *dtype_from_name(flags.type);
  if (flags.layout == "rows") options.down = DownFile::kRows;
  if (flags.layout == "neuron") options.down = DownFile::kNeuron;
  return options;
}

size_t tensor_bytes(const ModelFile& file) {
  size_t bytes = 0;
  for (const Tensor& t : file.tensors) bytes += t.data.size();
  return bytes;
}

double bits_per_weight(const ConvertReport& report) {
  uint64_t n_weights = 0;
  for (const ConvertReport::Type& t : report.types) n_weights += t.n_weights;
  return n_weights ? 8 * double(report.bytes) / double(n_weights) : 0;
}

nlohmann::ordered_json types_json(const ConvertReport& report) {
  auto out = nlohmann::ordered_json::object();
  for (const ConvertReport::Type& t : report.types)
    out[name_of(t.dtype)] = {{"n_tensors", t.n_tensors}, {"n_weights", t.n_weights}, {"bytes", t.bytes}};
  return out;
}

}  // namespace

namespace {

// What --ram reads of a model that is larger than memory, beside it.
int convert_bundles(const ConvertFlags& flags) {
  if (flags.type != "auto" || flags.sparse || !flags.imatrix.empty() || !flags.name.empty())
    fail(
        ErrorKind::kUsage,
        "--layout bundles copies neurons as they are: --type, --sparse, --imatrix and --name change a model before it");
  const OpenedModel opened = open_named(flags.model);
  if (opened.source != "GGUF")
    fail(ErrorKind::kUsage, "--layout bundles: expected a GGUF file, found a {}; `hunch convert` makes one of it",
         opened.source);
  BundlesReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = write_bundles(flags.out, opened.file, bar.progress(), &interrupt_stop());
  }
  if (flags.model.json) {
    print_json({{"out", flags.out}, {"layout", "bundles"}, {"n_layers", report.n_layers}, {"bytes", report.n_bytes}});
    return 0;
  }
  if (flags.model.quiet) return 0;
  note(fmt::format("wrote {}: the neurons of {} layers, {}", flags.out, report.n_layers,
                   human_bytes(double(report.n_bytes))));
  if (const fs::path expected = bundles_path(flags.model.model); fs::path(flags.out) != expected)
    note(fmt::format("note: they are looked for as {}", expected.string()));
  return 0;
}

}  // namespace

int convert(const ConvertFlags& flags) {
  check_output(flags.out, inputs_of(flags.model, {flags.imatrix}), flags.force, "-o");
  if (flags.layout == "bundles") return convert_bundles(flags);
  ImportanceMatrix importance;
  if (!flags.imatrix.empty()) importance = open_imatrix(flags.imatrix);
  ModelFlags source = flags.model;
  if (flags.type == "auto" && source.quantised == "auto") source.quantised = "blocks";  // they are kept
  OpenedModel opened = open_named(source);
  if (!flags.name.empty()) opened.file.meta.set("general.name", flags.name);
  const size_t bytes_before = tensor_bytes(opened.file);
  Compute compute(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
  compute.stop = &interrupt_stop();
  ConvertOptions options = convert_options(flags);
  if (!flags.imatrix.empty()) options.importance = &importance;
  ConvertReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = convert_model(opened.file, flags.out, options, compute, bar.progress());
  }
  SparseReport sparse;
  if (flags.sparse) {
    ProgressBar bar(!flags.model.quiet);
    sparse = store_sparse(open_gguf(flags.out), flags.out, compute, bar.progress());
    report.bytes -= sparse.dense_bytes - sparse.bytes;
    for (const auto& [name, matrix] : sparse.matrices) {
      const auto type = std::ranges::find(report.types, matrix.dtype, &ConvertReport::Type::dtype);
      if (type != report.types.end()) type->bytes -= matrix.dense_bytes - matrix.bytes;
    }
  }
  std::error_code ec;
  const uint64_t file_bytes = fs::file_size(flags.out, ec);
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"arch", opened.file.meta.get_string("general.architecture")},
                {"type", options.mix ? options.mix->name : name_of(report.dtype)},
                {"n_tensors", report.n_tensors},
                {"bytes", report.bytes},
                {"file_bytes", file_bytes},
                {"types", types_json(report)},
                {"sparse_tensors", sparse.matrices.size()},
                {"bits_per_weight", bits_per_weight(report)},
                {"unweighted", report.n_unweighted},
                {"unused_tensors", opened.unused},
                {"unread_config", opened.unread},
                {"notes", report.notes}});
    return 0;
  }
  if (flags.model.quiet) return 0;
  // Fallbacks come in families (every layer's down projection): the first ones tell the story.
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < std::min(report.notes.size(), kShown); ++i) note("note: " + report.notes[i]);
  if (report.notes.size() > kShown)
    note(fmt::format("note: and {} more like these (all of them with --json)", report.notes.size() - kShown));
  for (size_t i = 0; i < std::min(opened.unused.size(), kShown); ++i)
    note(fmt::format("note: tensor '{}' is not used by this architecture and was left out", opened.unused[i]));
  if (opened.unused.size() > kShown)
    note(fmt::format("note: and {} more unused tensors (all of them with --json)", opened.unused.size() - kShown));
  if (const std::string text = describe_left_out(opened.left_out); !text.empty()) note("note: " + text);
  if (!opened.unread.empty()) note(describe_unread(opened.unread));
  if (const std::string text = opened.quantised.text(); !text.empty()) note("note: " + text);
  if (report.n_unweighted)
    note(fmt::format("note: the importance matrix says nothing of {} matrices, whose errors all weigh the same",
                     report.n_unweighted));
  if (flags.sparse)
    note("note: " +
         (sparse.matrices.empty() ? "no matrix has zeros enough to be stored without them" : describe(sparse)));
  for (const ConvertReport::Type& t : report.types)
    note(fmt::format("  {:<7} {:>4} tensors {:>10}  {:.2f} bits per weight", name_of(t.dtype), t.n_tensors,
                     human_bytes(double(t.bytes)), 8 * double(t.bytes) / double(std::max<uint64_t>(1, t.n_weights))));
  note(fmt::format("wrote {}: {} tensors, {} ({} before), {:.2f} bits per weight", flags.out, report.n_tensors,
                   human_bytes(double(file_bytes)), human_bytes(double(bytes_before)), bits_per_weight(report)));
  return 0;
}

// The same work with other defaults: a float source made small.
int quantize(const ConvertFlags& flags) { return convert(flags); }

}  // namespace hunch::cli
