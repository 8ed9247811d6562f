#include "cli/synth_needle.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "synth/needle.h"

namespace hunch::cli {
namespace {

// What is said of a shape or of planted sparsity has no meaning here.
void refuse_others(const SynthFlags& f) {
  const std::pair<const char*, bool> others[] = {{"--shape", !f.shape.empty()},
                                                 {"--n-layer", f.n_layer.has_value()},
                                                 {"--n-embd", f.n_embd.has_value()},
                                                 {"--n-ff", f.n_ff.has_value()},
                                                 {"--n-head", f.n_head.has_value()},
                                                 {"--n-kv-head", f.n_kv_head.has_value()},
                                                 {"--activation", !f.activation.empty()},
                                                 {"--density", f.density != 0},
                                                 {"--density-profile", !f.density_profile.empty()},
                                                 {"--head-density", f.head_density != 1},
                                                 {"--outliers", f.n_outliers > 0},
                                                 {"--sidecar", f.sidecar},
                                                 {"--text", !f.text.empty()},
                                                 {"--layout", f.layout != "auto"}};
  for (const auto& [name, is_given] : others)
    if (is_given)
      fail(ErrorKind::kUsage,
           "{}: the model of --needle has its own sizes and weights; with it go --n-vocab, --n-ctx, "
           "--type and --seed",
           name);
}

}  // namespace

int synth_needle(const SynthFlags& flags) {
  refuse_others(flags);
  if (flags.out.empty()) fail(ErrorKind::kUsage, "where to? give -o FILE.gguf");
  check_output(flags.out, {}, flags.force, "-o");
  NeedleOptions options;
  options.dtype = *dtype_from_name(flags.type);  // the grammar let only names of the table pass
  options.seed = flags.seed;
  if (flags.n_vocab) options.n_vocab = *flags.n_vocab;
  if (flags.n_ctx) options.n_ctx = *flags.n_ctx;
  const Timer timer;
  Compute compute(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
  compute.stop = &interrupt_stop();
  SynthReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = write_needle(flags.out, options, compute, bar.progress());
  }
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"shape", "needle"},
                {"arch", "llama"},
                {"type", flags.type},
                {"seed", flags.seed},
                {"n_vocab", options.n_vocab},
                {"n_ctx", options.n_ctx},
                {"n_params", report.n_params},
                {"n_tensors", report.n_tensors},
                {"bytes", report.bytes},
                {"notes", report.notes}});
    return 0;
  }
  if (!flags.model.quiet)
    note(fmt::format("wrote {}: {} parameters in {} tensors, in {:.1f} s", flags.out,
                     human_count(double(report.n_params)), report.n_tensors, timer.seconds()));
  return 0;
}

}  // namespace hunch::cli
