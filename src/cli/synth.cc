// hunch synth: write a random model of a chosen shape, and text for it.
#include "synth/synth.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/synth_needle.h"
#include "io/gguf.h"
#include "model/architecture.h"
#include "synth/profile.h"
#include "synth/sidecar.h"
#include "synth/text.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

// A name that nobody knows is bad usage here, not an unsupported model.
Activation activation_of(const std::string& name) {
  try {
    return activation_from_name(name);
  } catch (const Error& e) {
    fail(ErrorKind::kUsage, "--activation: {}", e.what());
  }
}

SynthShape shape_of(const SynthFlags& flags) {
  SynthShape s = synth_shape(flags.shape);
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
  if (!flags.activation.empty()) s.activation = activation_of(flags.activation);
  validate(s);
  return s;
}

SynthPlanting planting_of(const SynthFlags& flags, const SynthShape& shape) {
  SynthPlanting p;
  p.head_density = flags.head_density;
  p.n_contexts = flags.n_contexts;
  p.next_token_margin = flags.next_token_margin;
  if (flags.density < 0) fail(ErrorKind::kUsage, "--density: expected more than 0, found {:g}", flags.density);
  if (flags.density_profile == "opt") {
    p.density = opt_density_profile(shape.n_layer, flags.density);
  } else if (!flags.density_profile.empty()) {
    fail(ErrorKind::kUsage, "--density-profile: expected opt, found '{}'", flags.density_profile);
  } else if (flags.density > 0) {
    p.density.assign(shape.n_layer, flags.density);
  } else if (flags.head_density != 1 || !flags.text.empty()) {
    fail(ErrorKind::kUsage, "{} needs a planted model; give --density or --density-profile too",
         flags.text.empty() ? "--head-density" : "--text");
  }
  return p;
}

SynthOptions synth_options(const SynthFlags& flags) {
  SynthOptions options;
  options.shape = shape_of(flags);
  options.dtype = *dtype_from_name(flags.type);  // the grammar let only names of the table pass
  options.seed = flags.seed;
  options.planting = planting_of(flags, options.shape);
  options.n_outliers = flags.n_outliers;
  const bool is_planted = !options.planting.density.empty() || flags.n_outliers > 0;
  if (options.shape.is_mixture() && !options.shape.is_hybrid() && is_planted)
    fail(ErrorKind::kUsage, "--density, --outliers: nothing is planted in the experts of {}", options.shape.name);
  if (flags.n_outliers > 0 && flags.sidecar)
    fail(ErrorKind::kUsage, "--sidecar: its predictors read activations without outliers; leave out --outliers");
  if (flags.layout == "rows") options.down = DownFile::kRows;
  if (flags.layout == "neuron") options.down = DownFile::kNeuron;
  if (options.down == DownFile::kNeuron && !is_relu_family(options.shape.activation))
    fail(ErrorKind::kUsage, "--layout neuron: the activation of {} is never exactly zero; use --activation relu",
         flags.shape);
  return options;
}

void write_text(const SynthFlags& flags, const SynthOptions& options) {
  const std::vector<int32_t> ids = synth_text_ids(options, flags.n_text_tokens, flags.text_seed);
  AtomicFile file(flags.text);
  file.write(synth_text(ids) + "\n");
  file.commit();
}

void say(const SynthFlags& flags, const SynthReport& report, uint64_t file_bytes, double seconds) {
  if (!report.notes.empty())
    note(fmt::format("note: {}{}", report.notes[0],
                     report.notes.size() > 1 ? fmt::format(" (and {} more like this)", report.notes.size() - 1) : ""));
  if (!flags.out.empty())
    note(fmt::format("wrote {}: {} parameters in {} tensors, {}, in {:.1f} s", flags.out,
                     human_count(double(report.n_params)), report.n_tensors, human_bytes(double(file_bytes)), seconds));
  if (flags.sidecar) note(fmt::format("wrote {}", sidecar_path(flags.out).string()));
  if (!flags.text.empty()) note(fmt::format("wrote {}: {} tokens", flags.text, grouped(flags.n_text_tokens)));
}

}  // namespace

int synth(const SynthFlags& flags) {
  if (flags.needle) return synth_needle(flags);
  if (flags.shape.empty()) {
    std::vector<std::string> names;
    for (const SynthShape& s : synth_shapes()) names.push_back(s.name);
    fail(ErrorKind::kUsage, "which shape? give --shape {}, or --needle", fmt::join(names, "|"));
  }
  if (flags.out.empty() && flags.text.empty()) fail(ErrorKind::kUsage, "where to? give -o FILE.gguf");
  if (!flags.out.empty()) check_output(flags.out, {}, flags.force, "-o");
  if (!flags.text.empty()) check_output(flags.text, {}, flags.force, "--text");
  if (flags.sidecar && (flags.out.empty() || (flags.density == 0 && flags.density_profile.empty())))
    fail(ErrorKind::kUsage,
         "--sidecar holds what was planted in a model; give -o and --density or --density-profile too");
  if (flags.sidecar) check_output(sidecar_path(flags.out).string(), {}, flags.force, "--sidecar");
  const SynthOptions options = synth_options(flags);
  if (flags.sidecar && options.shape.is_hybrid())
    fail(ErrorKind::kUsage,
         "--sidecar: nothing is planted in the experts of {} that a predictor would know; `hunch sparsify` fits them",
         options.shape.name);
  if (flags.sidecar && !is_relu_family(options.shape.activation))
    fail(ErrorKind::kUsage, "--sidecar: the activation of {} is never exactly zero; use --activation relu",
         flags.shape);
  const Timer timer;
  if (!flags.text.empty()) write_text(flags, options);
  SynthReport report;
  if (!flags.out.empty()) {
    Compute compute(flags.model.n_threads ? flags.model.n_threads : default_n_threads(), flags.model.pin_threads);
    compute.stop = &interrupt_stop();
    ProgressBar bar(!flags.model.quiet);
    report = write_synth(flags.out, options, compute, bar.progress());
    if (flags.sidecar)
      write_sidecar(sidecar_path(flags.out),
                    synth_sidecar(options, open_gguf(flags.out), bar.progress(), compute.stop));
  }
  std::error_code ec;
  const uint64_t file_bytes = flags.out.empty() ? 0 : fs::file_size(flags.out, ec);
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"shape", flags.shape},
                {"arch", options.shape.arch},
                {"type", flags.type},
                {"seed", flags.seed},
                {"density", options.planting.density},
                {"head_density", options.planting.head_density},
                {"n_outliers", options.n_outliers},
                {"n_params", report.n_params},
                {"n_tensors", report.n_tensors},
                {"bytes", report.bytes},
                {"file_bytes", file_bytes},
                {"sidecar", flags.sidecar ? sidecar_path(flags.out).string() : ""},
                {"text", flags.text},
                {"n_text_tokens", flags.text.empty() ? 0 : flags.n_text_tokens},
                {"notes", report.notes}});
    return 0;
  }
  if (!flags.model.quiet) say(flags, report, file_bytes, timer.seconds());
  return 0;
}

}  // namespace hunch::cli
