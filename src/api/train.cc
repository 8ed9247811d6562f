// `hunch train`, for programs.
#include "hunch/train.h"

#include <algorithm>

#include "api/impl.h"
#include "api/stop_of.h"
#include "base/error.h"
#include "base/precision_scope.h"
#include "formats/format.h"
#include "io/printable.h"
#include "model/fingerprint.h"
#include "train/training.h"

namespace hunch {
namespace {
namespace fs = std::filesystem;

TrainingJob job_of(const TrainingOptions& o) {
  std::vector<std::string> optimizers = optimizer_names();
  optimizers.insert(optimizers.end(), {"lomo", "mezo"});
  const auto known = [](const std::vector<std::string>& names, const std::string& name, const char* what) {
    if (std::ranges::find(names, name) == names.end())
      fail(ErrorKind::kUsage, "{} '{}': expected {}", what, printable(name), fmt::join(names, ", "));
  };
  known(training_methods(), o.method, "a method");
  known(optimizers, o.optimizer, "an optimizer");
  TrainingJob job;
  job.method = o.method;
  job.rank = o.rank;
  job.alpha = o.alpha;
  job.n_virtual_tokens = o.n_virtual_tokens;
  const auto precision = precision_from_name(o.precision);
  if (!precision) fail(ErrorKind::kUsage, "a precision '{}': expected f32 or bf16", printable(o.precision));
  job.precision = *precision;
  job.only_layers = o.only_layers;
  job.optimizer = o.optimizer;
  job.learning_rate = o.learning_rate;
  job.keep_zeros = o.keep_zeros;
  job.prune = o.prune;
  if (!o.type.empty()) {
    job.type = dtype_from_name(o.type);
    if (!job.type) fail(ErrorKind::kUsage, "an unknown type '{}' (type)", printable(o.type));
  }
  const bool reshapes = job.type || job.keep_zeros || job.prune != 0;
  if (reshapes && !job.trains_all())
    fail(ErrorKind::kUsage, "type, keep_zeros and prune change the model itself: they go with the method full");
  if (job.type && !job.only_layers.empty())
    fail(ErrorKind::kUsage, "only_layers: type rounds all layers, and all learn to bear it");
  if (job.has_virtual_tokens() && !job.only_layers.empty())
    fail(ErrorKind::kUsage, "only_layers: virtual tokens stand before all layers");
  if (!(job.prune >= 0 && job.prune < 1)) fail(ErrorKind::kUsage, "prune: expected a share from 0 to below 1");
  return job;
}

void check_out(const TrainingOptions& o, const TrainingJob& job, const fs::path& out) {
  std::error_code ec;
  if (!out.has_filename()) fail(ErrorKind::kUsage, "'{}' is no name to write to", out.string());
  if (job.trains_all() && out.extension() != ".gguf")
    fail(ErrorKind::kUsage, "the method full writes a model: expected a name that ends with .gguf, found '{}'",
         out.string());
  if (!job.trains_all() && !writes_folder(job, out) && !fits_gguf_adapter(job))
    fail(ErrorKind::kUsage, "a GGUF adapter cannot hold the method {}; give a folder, as PEFT has them", job.method);
  if (fs::exists(out, ec) && !o.replace) fail(ErrorKind::kUsage, "'{}' is there already (replace)", out.string());
}

TrainerOptions trainer_options(const TrainingOptions& o, const TrainingJob& job, const ModelConfig& config) {
  if (!(o.weight_decay >= 0 && o.clip >= 0 && o.learning_rate >= 0))
    fail(ErrorKind::kUsage, "weight_decay, clip and learning_rate: expected at least 0");
  if (!(o.distill_share >= 0 && o.distill_share <= 1) || !(o.distill_temperature > 0))
    fail(ErrorKind::kUsage, "distill_share: expected 0 to 1; distill_temperature: more than 0");
  if (!(o.last_rate >= 0 && o.last_rate <= 1) || !(o.n_epochs > 0))
    fail(ErrorKind::kUsage, "last_rate: expected 0 to 1; n_epochs: more than 0");
  TrainerOptions t;
  set_optimizer(job, t);
  t.optimizer.weight_decay = float(o.weight_decay);
  t.last_rate = o.last_rate;
  t.n_ctx = o.n_ctx > 0 ? o.n_ctx : std::min<size_t>(256, config.n_ctx_train);
  t.n_batch = o.n_batch;
  t.n_steps = o.n_steps;
  t.clip = o.clip;
  t.seed = o.seed;
  t.eval_every = o.eval_every;
  t.checkpoint_every = o.checkpoint_every;
  t.distill.divergence = o.reverse_kl ? Divergence::kReverse : Divergence::kForward;
  t.distill.temperature = float(o.distill_temperature);
  t.distill.share = float(o.distill_share);
  return t;
}

// What steps look at; whichever of the two is not empty.
struct Data {
  std::vector<int32_t> ids, held_out;
  std::vector<Example> examples, held_out_examples;
};

Training run(LanguageModel& model, const fs::path& out, const TrainingOptions& options, const TrainingJob& job,
             TrainerOptions own, Data data) {
  ModelImpl& impl = *impl_of(model);
  Compute& compute = *impl.engine.compute;
  const PrecisionScope exact(compute, Precision::kF32);  // job.precision says what training rounds
  const size_t n_windows = !data.examples.empty() ? data.examples.size() : windows_of_text(data.ids.size(), own.n_ctx);
  set_steps(job, n_windows, options.n_epochs, std::nullopt, own);
  Network network(*impl.engine.model, compute);
  prepare(job, own.seed, network);
  own.settings = settings_of(job, *impl.engine.model);
  own.settings["text"] = hash_of(data.ids, data.examples, {});
  if (options.checkpoints) own.checkpoint = out.string() + ".checkpoint";
  std::optional<Network> teacher;
  if (options.teacher) {
    const Engine& theirs = impl_of(*options.teacher)->engine;
    if (!impl_of(*options.teacher)->options.adapters.empty())
      fail(ErrorKind::kUnsupported,
           "the teacher has adapters, which training does not read: merge them into it first (hunch merge)");
    require_same_vocabulary(impl.engine.need_tokenizer(), theirs.need_tokenizer());
    teacher.emplace(*theirs.model, compute);
    teacher->set_precision(job.precision);
    own.settings["teacher"] = tensor_fingerprint(theirs.model->file());
  }
  Network* const taught_by = teacher ? &*teacher : nullptr;
  const auto ended = [&](const TrainProgress& p) {
    return options.on_step &&
           !options.on_step({p.step, p.n_steps, p.loss, p.held_out, p.learning_rate, p.tokens_per_s, p.seconds_left});
  };
  Training report;
  const auto train_by = [&](Trainer trainer) {
    const TrainerReport r = trainer.run_until(ended);
    report.n_parameters = r.n_parameters;
    report.n_steps = r.n_steps;
    report.held_out_before = r.held_out_before;
    report.held_out_after = r.held_out_after;
    report.seconds = r.seconds;
    report.tokens_per_s = r.tokens_per_s;
    for (const LossPoint& p : r.curve)
      if (p.step > 0) report.losses.push_back(p.loss);
  };
  if (data.examples.empty()) {
    train_by(Trainer(network, data.ids, data.held_out, own, taught_by));
  } else {
    std::vector<TokenBatch> held_out = examples_in_order(
        data.held_out_examples, std::max<size_t>(1, kTokensTogether / std::max<size_t>(1, own.n_ctx)));
    train_by(Trainer(network, std::make_unique<ExampleSource>(std::move(data.examples), own.n_ctx, own.seed),
                     std::move(held_out), own, taught_by));
  }
  save_trained(job, network, out, impl.info.name, options.replace);
  std::error_code ec;
  if (options.checkpoints) fs::remove(own.checkpoint, ec);
  report.out = out;
  return report;
}

}  // namespace

Training train(LanguageModel& model, std::string_view text, const fs::path& out, const TrainingOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  const TrainingJob job = job_of(options);
  check_out(options, job, out);
  const TrainerOptions own = trainer_options(options, job, impl.engine.config());
  Data data{model.tokenize(text), {}, {}, {}};
  data.held_out = options.held_out.empty() ? hold_out(data.ids, own.n_ctx) : model.tokenize(options.held_out);
  return run(model, out, options, job, own, std::move(data));
}

Training train(LanguageModel& model, const std::vector<TrainingExample>& examples, const fs::path& out,
               const TrainingOptions& options) {
  ModelImpl& impl = *impl_of(model);
  const StopScope scope(*impl.engine.compute, stop_of(options.cancel));
  const TrainingJob job = job_of(options);
  check_out(options, job, out);
  TrainerOptions own = trainer_options(options, job, impl.engine.config());
  if (!options.held_out.empty()) fail(ErrorKind::kUsage, "held_out is a text: of examples the last tenth is held out");
  if (examples.empty()) fail(ErrorKind::kUsage, "no example to train on");
  Data data;
  for (const TrainingExample& e : examples)
    data.examples.push_back(encode_example(impl.engine.need_tokenizer(), e.prompt, e.answer));
  if (options.n_ctx == 0) own.n_ctx = std::max<size_t>(2, longest_example(data.examples));
  data.held_out_examples = hold_out(data.examples);
  return run(model, out, options, job, own, std::move(data));
}

}  // namespace hunch
