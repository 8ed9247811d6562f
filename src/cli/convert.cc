// hunch convert, hunch quantize: write a model as GGUF in another dtype.
#include "compress/convert.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/session_io.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

ConvertOptions convert_options(const ConvertFlags& flags) {
  ConvertOptions options;
  options.dtype = *dtype_from_name(flags.type);  // flags.cc let only names of the table pass
  if (flags.layout == "rows") options.down = DownFile::kRows;
  if (flags.layout == "neuron") options.down = DownFile::kNeuron;
  return options;
}

size_t tensor_bytes(const ModelFile& file) {
  size_t bytes = 0;
  for (const Tensor& t : file.tensors) bytes += t.data.size();
  return bytes;
}

}  // namespace

int convert(const ConvertFlags& flags) {
  check_output(flags.out, inputs_of(flags.model), flags.force, "-o");
  OpenedModel opened = open_named(flags.model);
  if (!flags.name.empty()) opened.file.meta.set("general.name", flags.name);
  const size_t bytes_before = tensor_bytes(opened.file);
  Compute compute(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
  compute.stop = &interrupt_stop();
  ConvertReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = convert_model(opened.file, flags.out, convert_options(flags), compute, bar.progress());
  }
  std::error_code ec;
  const uint64_t file_bytes = fs::file_size(flags.out, ec);
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"arch", opened.file.meta.get_string("general.architecture")},
                {"type", flags.type},
                {"n_tensors", report.n_tensors},
                {"bytes", report.bytes},
                {"file_bytes", file_bytes},
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
  if (!opened.unread.empty()) note(describe_unread(opened.unread));
  note(fmt::format("wrote {}: {} tensors, {} ({} before)", flags.out, report.n_tensors, human_bytes(double(file_bytes)),
                   human_bytes(double(bytes_before))));
  return 0;
}

// The same work with other defaults: a float source made small.
int quantize(const ConvertFlags& flags) { return convert(flags); }

}  // namespace hunch::cli
