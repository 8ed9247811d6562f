// `hunch quantize`, for programs.
#include "hunch/quantize.h"

#include <fmt/ranges.h>

#include "api/stop_of.h"
#include "base/error.h"
#include "compress/convert.h"
#include "formats/format.h"
#include "io/printable.h"
#include "model/open_model.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

ConvertOptions convert_options(const QuantizeOptions& options) {
  ConvertOptions own;
  own.keep_blocks = options.type == "auto";
  own.mix = find_mix(options.type);
  if (!own.keep_blocks && !own.mix) {
    const std::optional<DType> type = dtype_from_name(options.type);
    if (!type || !find_format(*type)->writes())
      fail(ErrorKind::kUsage,
           "a model is to be written as '{}', expected auto, one of the types {}, or one of the mixes {} (type)",
           printable(options.type), fmt::join(format_names(&Format::writes), ", "), fmt::join(mix_names(), ", "));
    own.dtype = *type;
  }
  if (options.layout == "rows") {
    own.down = DownFile::kRows;
  } else if (options.layout == "neuron") {
    own.down = DownFile::kNeuron;
  } else if (options.layout != "auto") {
    fail(ErrorKind::kUsage, "the layout '{}', expected auto, rows or neuron", printable(options.layout));
  }
  return own;
}

void check_output(const fs::path& source, const fs::path& output, bool replace) {
  std::error_code ec;
  const std::string shown = printable(output.string(), 300);
  if (output.empty()) fail(ErrorKind::kUsage, "no name of a file to write");
  if (!fs::exists(output, ec)) return;
  if (!fs::is_regular_file(output, ec)) fail(ErrorKind::kUsage, "'{}' is no file that could be replaced", shown);
  const fs::path folder = fs::canonical(output, ec).parent_path();
  if (fs::equivalent(output, source, ec) || fs::equivalent(folder, source, ec))
    fail(ErrorKind::kUsage, "'{}' is part of the model that is read; expected another file", shown);
  if (!replace) fail(ErrorKind::kUsage, "'{}' is there already (replace)", shown);
}

double bits_of(const ConvertReport& report) {
  uint64_t n_weights = 0;
  for (const ConvertReport::Type& type : report.types) n_weights += type.n_weights;
  return n_weights ? 8 * double(report.bytes) / double(n_weights) : 0;
}

}  // namespace

Quantized quantize(const fs::path& source, const fs::path& output, const QuantizeOptions& options) {
  ConvertOptions own = convert_options(options);
  check_output(source, output, options.replace);
  ImportanceMatrix importance;
  if (!options.importance.empty()) {
    importance = open_imatrix(options.importance);
    own.importance = &importance;
  }
  Compute compute(options.n_threads ? options.n_threads : default_n_threads());
  compute.stop = stop_of(options.cancel);
  const OpenedModel opened =
      open_model(source, compute.stop, own.keep_blocks ? QuantisedAs::kBlocks : QuantisedAs::kAuto, options.n_threads);
  const ConvertReport report = convert_model(opened.file, output, own, compute, options.on_progress);
  Quantized out;
  out.path = output;
  out.n_tensors = report.n_tensors;
  std::error_code ec;
  out.bytes = fs::file_size(output, ec);
  out.bits_per_weight = bits_of(report);
  out.notes = report.notes;
  for (const std::string& tensor : opened.unused)
    out.notes.push_back("tensor '" + tensor + "' is not used by this architecture and was left out");
  return out;
}

}  // namespace hunch
