// hunch synth: write a random model of a chosen shape.
#include "compress/synth.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/flags.h"
#include "model/architecture.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

SynthOptions synth_options(const SynthFlags& flags) {
  SynthOptions options;
  options.shape = synth_shape(flags.shape);
  options.dtype = *dtype_from_name(flags.type);  // the grammar let only names of the table pass
  options.seed = flags.seed;
  if (flags.layout == "rows") options.down = DownFile::kRows;
  if (flags.layout == "neuron") options.down = DownFile::kNeuron;
  SynthShape& s = options.shape;
  const auto change = [&](size_t& size, const std::optional<uint64_t>& value) {
    if (value) size = *value;
  };
  // Where only n_head changes, a model that had one key head per head keeps that.
  if (flags.n_head && s.n_kv_head == s.n_head) s.n_kv_head = *flags.n_head;
  change(s.n_layer, flags.n_layer);
  change(s.n_embd, flags.n_embd);
  change(s.n_ff, flags.n_ff);
  change(s.n_head, flags.n_head);
  change(s.n_kv_head, flags.n_kv_head);
  change(s.n_vocab, flags.n_vocab);
  change(s.n_ctx, flags.n_ctx);
  if (!flags.activation.empty()) s.activation = activation_from_name(flags.activation);
  if (options.down == DownFile::kNeuron && !is_relu_family(s.activation))
    fail(ErrorKind::kUsage, "--layout neuron: the activation of {} is never exactly zero; use --activation relu",
         s.name);
  return options;
}

}  // namespace

int synth(const SynthFlags& flags) {
  if (flags.shape.empty()) {
    std::vector<std::string> names;
    for (const SynthShape& s : synth_shapes()) names.push_back(s.name);
    fail(ErrorKind::kUsage, "which shape? give --shape {}", fmt::join(names, "|"));
  }
  if (flags.out.empty()) fail(ErrorKind::kUsage, "where to? give -o FILE.gguf");
  std::error_code ec;
  if (fs::is_directory(flags.out, ec))
    fail(ErrorKind::kUsage, "'{}' is a folder; -o names the GGUF file to write", flags.out);
  const SynthOptions options = synth_options(flags);
  ThreadPool pool(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
  const Timer timer;
  SynthReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = write_synth(flags.out, options, pool, bar.progress());
  }
  const uint64_t file_bytes = fs::file_size(flags.out, ec);
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"shape", flags.shape},
                {"arch", options.shape.arch},
                {"type", flags.type},
                {"seed", flags.seed},
                {"n_params", report.n_params},
                {"n_tensors", report.n_tensors},
                {"bytes", report.bytes},
                {"file_bytes", file_bytes},
                {"notes", report.notes}});
    return 0;
  }
  if (flags.model.quiet) return 0;
  if (!report.notes.empty())
    note(fmt::format("note: {}{}", report.notes[0],
                     report.notes.size() > 1 ? fmt::format(" (and {} more like this)", report.notes.size() - 1) : ""));
  note(fmt::format("wrote {}: {} parameters in {} tensors, {}, in {:.1f} s", flags.out,
                   human_count(double(report.n_params)), report.n_tensors, human_bytes(double(file_bytes)),
                   timer.seconds()));
  return 0;
}

}  // namespace hunch::cli
