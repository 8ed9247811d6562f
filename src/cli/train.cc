// hunch train: fit an adapter, or all weights, to a text.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "cli/teacher_answers.h"
#include "cli/train_checks.h"
#include "cli/train_data.h"
#include "formats/format.h"
#include "model/fingerprint.h"
#include "train/loftq_start.h"
#include "train/training.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

TrainerOptions options_of(const TrainFlags& flags, const TrainingJob& job, const ModelConfig& config) {
  TrainerOptions o;
  set_optimizer(job, o);
  o.optimizer.weight_decay = flags.weight_decay;
  o.last_rate = flags.last_rate;
  o.n_ctx = flags.n_ctx > 0 ? flags.n_ctx : std::min<size_t>(256, config.n_ctx_train);
  o.n_batch = flags.n_batch;
  o.n_steps = flags.n_steps;
  o.clip = flags.clip;
  o.l1 = flags.l1;
  o.l1_stages = flags.l1_stages;
  o.seed = flags.seed;
  o.eval_every = flags.eval_every;
  o.checkpoint_every = flags.checkpoint_every;
  o.checkpoint = output_path(flags).string() + ".checkpoint";
  o.distill.divergence = flags.divergence == "reverse" ? Divergence::kReverse : Divergence::kForward;
  o.distill.temperature = flags.distill_temperature;
  o.distill.share = float(flags.distill_share);
  return o;
}

TrainingJob job_of(const TrainFlags& flags) {
  const auto size = [](const std::optional<uint64_t>& flag) {
    return flag ? std::optional(size_t(*flag)) : std::nullopt;
  };
  TrainingJob job;
  job.method = flags.method;
  job.rank = size_t(flags.rank.value_or(8));
  job.n_virtual_tokens = size_t(flags.n_virtual_tokens.value_or(20));
  if (flags.alpha) job.alpha = float(parse_real(*flags.alpha, "--alpha"));
  if (flags.alpha && !(job.alpha > 0)) fail(ErrorKind::kUsage, "--alpha: expected more than 0");
  if (!flags.only.empty()) job.roles = parse_roles(flags.only, "--only");
  job.only_layers = flags.only_layers;
  job.is_new = flags.is_new;
  job.grows = flags.grows;
  job.shape = {size(flags.n_layer), size(flags.n_embd),    size(flags.n_ff),
               size(flags.n_head),  size(flags.n_kv_head), {}};
  job.initial = flags.init == "small" ? InitialWeights::kSmall : InitialWeights::kFanIn;
  job.type = dtype_from_name(flags.type);
  if (flags.activation == "relu") job.relu = flags.activation_threshold;
  job.learns_clipping = flags.learns_clipping;
  job.keep_zeros = flags.keep_zeros;
  job.prune = flags.prune;
  job.optimizer = flags.optimizer;
  job.learning_rate = flags.learning_rate;
  job.precision = *precision_from_name(flags.precision);
  return job;
}

std::string time_left(double seconds) {
  return seconds < 100 ? fmt::format("{:.0f} s left", seconds) : fmt::format("{:.0f} min left", seconds / 60);
}

std::string progress_line(const TrainProgress& p) {
  return fmt::format("step {} of {}: loss {:.4f}{}, {:.0f} tokens/s, {}", p.step, p.n_steps, p.loss,
                     p.held_out >= 0 ? fmt::format(", held out {:.4f}", p.held_out) : "", p.tokens_per_s,
                     time_left(p.seconds_left));
}

Json number_or_null(double x) { return x >= 0 ? Json(x) : Json(); }

Json report_json(const TrainFlags& flags, const TrainerOptions& o, const TrainerReport& r) {
  Json curve = Json::array();
  for (const LossPoint& p : r.curve)
    if (p.step > 0) curve.push_back({{"step", p.step}, {"loss", p.loss}, {"held_out", number_or_null(p.held_out)}});
  return {{"out", flags.out},
          {"method", trains_all(flags) ? "full" : flags.method},
          {"optimizer", flags.optimizer},
          {"n_parameters", r.n_parameters},
          {"n_steps", r.n_steps},
          {"first_step", r.first_step},
          {"n_batch", o.n_batch},
          {"n_ctx", o.n_ctx},
          {"learning_rate", o.learning_rate},
          {"held_out_before", number_or_null(r.held_out_before)},
          {"held_out_after", number_or_null(r.held_out_after)},
          {"seconds", r.seconds},
          {"tokens_per_s", r.tokens_per_s},
          {"curve", curve}};
}

// The points of the curve at which the held-out loss was measured, with the mean loss of the steps up to each.
void print_curve(const TrainerReport& report) {
  std::vector<std::vector<std::string>> cells = {{"step", "loss", "held out", "perplexity"}};
  double sum = 0;
  size_t n = 0;
  for (const LossPoint& p : report.curve) {
    if (p.step > 0) sum += p.loss, ++n;
    const bool last = p.step == report.n_steps;
    if (p.held_out < 0 && !last) continue;
    cells.push_back({std::to_string(p.step), n > 0 ? fmt::format("{:.4f}", sum / double(n)) : "",
                     p.held_out >= 0 ? fmt::format("{:.4f}", p.held_out) : "",
                     p.held_out >= 0 ? fmt::format("{:.2f}", std::exp(p.held_out)) : ""});
    sum = 0;
    n = 0;
  }
  print(table(cells));
}

// What goes wrong leaves the checkpoint where it is, also where the output cannot be written.
TrainerReport train_and_save(Trainer& trainer, Network& network, const TrainFlags& flags, const TrainingJob& job,
                             const TrainerOptions& options) {
  std::error_code ec;
  try {
    TrainerReport report;
    {
      ProgressBar bar(!flags.model.quiet);
      const Progress steps = bar.progress();  // none where there is no terminal
      report = trainer.run([&](const TrainProgress& p) {
        const bool measured = p.step == p.n_steps || (flags.eval_every > 0 && p.step % flags.eval_every == 0);
        if (steps && !measured) steps("training", p.step, p.n_steps);
        if (!measured || flags.model.quiet) return;
        bar.clear();
        note(progress_line(p));
      });
    }
    save_trained(job, network, flags.out, flags.model.model, flags.force);
    fs::remove(options.checkpoint, ec);
    return report;
  } catch (const Error&) {
    if (!flags.model.quiet && fs::exists(options.checkpoint, ec))
      note(fmt::format("the last checkpoint is {}: the same command goes on from there", options.checkpoint.string()));
    throw;
  }
}

}  // namespace

int train(const TrainFlags& flags) {
  check_train_flags(flags);
  const std::vector<std::string> files = {flags.text,    flags.examples, flags.file,   flags.eval,
                                          flags.teacher, flags.loftq,    flags.prompts};
  (writes_folder(flags) ? check_output_folder : check_output)(flags.out, inputs_of(flags.model, files), flags.force,
                                                              "-o");
  const Engine engine = open_engine(flags.model);
  const TrainingJob job = job_of(flags);
  const std::unique_ptr<Model> made =
      first_model(job, *engine.model, *engine.compute, flags.seed, fs::path(flags.out).stem().string());
  const Model& model = made ? *made : *engine.model;
  TrainerOptions options = options_of(flags, job, model.config());
  if (!flags.prompts.empty()) write_answers(flags, engine.compute);
  const TrainData data = read_train_data(flags, engine, options.n_ctx);
  if (!data.is_text() && flags.n_ctx == 0) options.n_ctx = std::max<size_t>(2, data.longest());
  set_steps(job, data.n_windows(options.n_ctx), flags.n_epochs,
            flags.n_warmup ? std::optional(size_t(*flags.n_warmup)) : std::nullopt, options);
  Network network(model, *engine.compute);
  prepare(job, options.seed, network);
  options.settings = settings_of(job, model);
  options.settings["text"] = data.hash();
  if (!flags.loftq.empty()) {
    ModelFlags theirs = flags.model;
    theirs.model = flags.loftq;
    const Engine original = open_engine(theirs, engine.compute);
    begin_with_difference(network, *original.model, flags.seed);
    options.settings["original"] = tensor_fingerprint(original.model->file());
  }

  std::optional<Engine> teacher_engine;
  std::optional<Network> teacher;
  if (!flags.teacher.empty() && flags.prompts.empty()) {
    ModelFlags theirs = flags.model;
    theirs.model = flags.teacher;
    teacher_engine = open_engine(theirs, engine.compute);
    require_same_vocabulary(engine.need_tokenizer(), teacher_engine->need_tokenizer());
    teacher.emplace(*teacher_engine->model, *engine.compute);
    teacher->set_precision(job.precision);
    options.settings["teacher"] = tensor_fingerprint(teacher_engine->model->file());
  }
  std::error_code ec;
  if (flags.restart) fs::remove(options.checkpoint, ec);
  print_first_line(engine, flags.model, {}, 0, 0);
  Trainer trainer = make_trainer(network, data, options, teacher ? &*teacher : nullptr);
  const TrainerReport report = train_and_save(trainer, network, flags, job, options);
  if (flags.model.json) {
    print_json(report_json(flags, options, report));
  } else {
    print_curve(report);
  }
  if (flags.model.quiet) return 0;
  note(fmt::format("wrote {}: {} parameters, {} steps of {} tokens in {:.0f} s, {:.0f} tokens/s{}", flags.out,
                   human_count(double(report.n_parameters)), report.n_steps - report.first_step,
                   options.n_batch * options.n_ctx, report.seconds, report.tokens_per_s,
                   trains_all(flags) ? "" : "; --lora uses it"));
  return 0;
}

}  // namespace hunch::cli
