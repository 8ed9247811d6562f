#include "train/trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "base/timer.h"
#include "train/mezo.h"
#include "train/random_values.h"

namespace hunch {
namespace {

size_t windows_together(const TrainerOptions& o, size_t n_sequences = 1) {
  return std::clamp<size_t>(kTokensTogether / std::max<size_t>(1, o.n_ctx * n_sequences), 1,
                            std::max<size_t>(1, o.n_batch));
}

// A step that must be done whole: nobody stops it.
class Undisturbed {
 public:
  explicit Undisturbed(Compute& compute) : compute_(compute), before_(compute.stop) { compute.stop = nullptr; }
  ~Undisturbed() { compute_.stop = before_; }
  Undisturbed(const Undisturbed&) = delete;
  Undisturbed& operator=(const Undisturbed&) = delete;

 private:
  Compute& compute_;
  const Stop* before_;
};

// The options, where they can be meant.
TrainerOptions checked(TrainerOptions o, const Network& network, const Network* teacher) {
  const ModelConfig& c = network.model().config();
  if (network.parameters.all.empty()) fail(ErrorKind::kUsage, "nothing of the model is to be trained");
  if (o.n_steps == 0 || o.n_batch == 0 || o.n_ctx < 2)
    fail(ErrorKind::kUsage,
         "{} steps (n_steps) of {} windows (n_batch) of {} tokens (n_ctx): expected at least 1, 1 and 2", o.n_steps,
         o.n_batch, o.n_ctx);
  if (c.n_ctx_train > 0 && o.n_ctx + network.n_virtual() > c.n_ctx_train)
    fail(ErrorKind::kUsage, "windows of {} tokens (n_ctx){}: the model's context is {}", o.n_ctx,
         network.n_virtual() > 0 ? fmt::format(", and {} virtual ones", network.n_virtual()) : "", c.n_ctx_train);
  if (!(o.learning_rate > 0) || !std::isfinite(o.learning_rate))
    fail(ErrorKind::kUsage, "a learning rate of {:g} (learning_rate): expected more than 0", o.learning_rate);
  if (o.update == Update::kFused && (o.optimizer.kind != OptimizerKind::kSgd || o.n_batch > windows_together(o)))
    fail(ErrorKind::kUsage,
         "LOMO applies the gradients of one pass as they come: it goes with plain SGD and at most {} windows of {} "
         "tokens a step (n_batch), found {}",
         windows_together(o), o.n_ctx, o.n_batch);
  if (o.l1 < 0 || (o.l1 > 0 && o.update != Update::kGradients))
    fail(ErrorKind::kUsage, "an L1 penalty of {:g} (l1): expected at least 0, and none with LOMO and MeZO", o.l1);
  if (o.l1_stages == 0) fail(ErrorKind::kUsage, "an L1 penalty that rises in 0 stages (l1_stages): expected 1 or more");
  if (o.threshold > 0 && !network.became_relu())
    fail(ErrorKind::kUsage, "a threshold of {:g} (threshold): the model's MLPs have no ReLUs of training", o.threshold);
  if (teacher && teacher->model().config().n_vocab != c.n_vocab)
    fail(ErrorKind::kUnsupported, "the teacher has a vocabulary of {} tokens, the model one of {}: expected the same",
         teacher->model().config().n_vocab, c.n_vocab);
  return o;
}

std::unique_ptr<BatchSource> windows_of(const Network& network, std::span<const int32_t> ids,
                                        std::span<const int32_t> held_out, const TrainerOptions& options,
                                        const Network* teacher) {
  const TrainerOptions o = checked(options, network, teacher);
  if (!held_out.empty() && held_out.size() <= o.n_ctx)
    fail(ErrorKind::kUsage, "the text that is held out has {} tokens; one window takes {} (n_ctx, and one to predict)",
         held_out.size(), o.n_ctx + 1);
  return std::make_unique<TokenSource>(ids, o.n_ctx, o.seed);
}

}  // namespace

Trainer::Trainer(Network& network, std::span<const int32_t> ids, std::span<const int32_t> held_out,
                 TrainerOptions options, Network* teacher)
    : Trainer(network, windows_of(network, ids, held_out, options, teacher),
              batches_in_order(held_out, options.n_ctx, windows_together(options), options.most_eval_windows), options,
              teacher) {}

Trainer::Trainer(Network& network, std::unique_ptr<BatchSource> source, std::vector<TokenBatch> held_out,
                 TrainerOptions options, Network* teacher)
    : network_(network),
      compute_(network.compute()),
      teacher_(teacher),
      options_(checked(std::move(options), network, teacher)),
      source_(std::move(source)),
      held_out_(std::move(held_out)),
      schedule_{options_.learning_rate, options_.last_rate, options_.n_warmup, options_.n_steps} {
  if (teacher && source_->n_sequences() > 1)
    fail(ErrorKind::kUsage,
         "a teacher's probabilities are of texts and answers: questions have right choices (teacher)");
  if (options_.update == Update::kFused && options_.n_batch > windows_together(options_, source_->n_sequences()))
    fail(ErrorKind::kUsage,
         "LOMO applies the gradients of one pass: at most {} such questions a step (n_batch), found {}",
         windows_together(options_, source_->n_sequences()), options_.n_batch);
  if (options_.update == Update::kMezo) return;
  network_.parameters.allocate_gradients(options_.update == Update::kFused ? GradientMemory::kOneLayer
                                                                           : GradientMemory::kAll);
  optimizer_ = std::make_unique<Optimizer>(network_.parameters, options_.optimizer);
}

// Of the step at hand, in parts that are computed one after the other.
std::vector<TokenBatch> Trainer::next_batch() {
  std::vector<TokenBatch> parts;
  const uint64_t first = uint64_t{state_.step} * options_.n_batch;
  const size_t n = windows_together(options_, source_->n_sequences());
  for (size_t done = 0; done < options_.n_batch; done += n)
    parts.push_back(source_->batch(first + done, std::min(n, options_.n_batch - done)));
  for (const TokenBatch& part : parts) n_tokens_done_ += part.shape.n_rows();
  return parts;
}

LossOfRows Trainer::loss_of(const TokenBatch& batch, double weight) {
  if (!batch.questions.empty()) return choice_gradient(network_, batch, weight);
  if (!teacher_) return cross_entropy(compute_, batch, weight);
  teacher_->forward(batch);
  return distillation(
      compute_, batch, [this](size_t first, MatView<float> out) { teacher_->logits(first, out); }, options_.distill,
      weight);
}

// Without gradients.
double Trainer::loss_value(const TokenBatch& batch, double weight) {
  return batch.questions.empty() ? network_.loss(batch, loss_of(batch, weight)) : choice_loss(network_, batch, weight);
}

// ProSparse's schedule (section 3.2): in each stage half a cosine up, which ends level.
double Trainer::l1_now() const {
  const double n_stages = double(options_.l1_stages);
  const double at = n_stages * std::min(1.0, double(state_.step) / (0.75 * double(options_.n_steps)));
  const double stage = std::min(std::floor(at), n_stages - 1);
  return options_.l1 * (stage + 0.5 * (1 - std::cos(std::numbers::pi * (at - stage)))) / n_stages;
}

// The shift of ProSparse's last part (section 3.3), with steps that follow it.
float Trainer::threshold_now() const {
  const double done = double(state_.step) / double(options_.n_steps);
  const double rise = TrainerOptions::kThresholdEnds - TrainerOptions::kThresholdBegins;
  return options_.threshold * float(std::clamp((done - TrainerOptions::kThresholdBegins) / rise, 0.0, 1.0));
}

double Trainer::gradients_of(const std::vector<TokenBatch>& parts) {
  network_.parameters.zero_gradients();
  double loss = 0;
  for (const TokenBatch& part : parts) {
    const double share = double(part.n_windows()) / double(options_.n_batch);
    network_.set_l1(share * l1_now(), part.shape.n_rows());
    loss += network_.backward(part, loss_of(part, share));
  }
  network_.finish_gradients();
  return loss;
}

double Trainer::gradient_step(const std::vector<TokenBatch>& parts, double rate) {
  const double loss = gradients_of(parts), norm = gradient_norm(compute_, network_.parameters);
  if (std::isfinite(loss) && !std::isfinite(norm))
    for (const auto& p : network_.parameters.all)
      if (!std::ranges::all_of(p->grads(), [](float g) { return std::isfinite(g); }))
        fail(ErrorKind::kFormat, "the gradient of '{}' is not finite in step {}, at a loss of {:.4f}", p->name,
             state_.step + 1, loss);
  if (std::isfinite(loss)) optimizer_->step(compute_, float(rate), clip_factor(norm, options_.clip));
  return loss;
}

double Trainer::fused_step(const std::vector<TokenBatch>& parts, double rate) {
  const Undisturbed whole(compute_);
  optimizer_->begin();
  network_.parameters.zero_gradients();
  return network_.backward(parts[0], loss_of(parts[0], 1.0), [&](size_t layer) {
    optimizer_->step_layer(compute_, layer, float(rate));
    network_.parameters.zero_gradients(layer);  // the next block's take their place
  });
}

double Trainer::mezo_step(const std::vector<TokenBatch>& parts, double rate) {
  const Undisturbed whole(compute_);
  const Direction z = normal_direction(RandomValues(options_.seed, uint64_t{state_.step}).next());
  double mean = 0;
  const double gradient = projected_gradient(
      compute_, network_.parameters, z, options_.mezo_eps,
      [&] {
        network_.refresh();
        double loss = 0;
        for (const TokenBatch& part : parts)
          loss += loss_value(part, double(part.n_windows()) / double(options_.n_batch));
        return loss;
      },
      &mean);
  if (std::isfinite(gradient))
    step_along(compute_, network_.parameters, z, gradient, float(rate), options_.optimizer.weight_decay);
  return mean;
}

double Trainer::step() {
  if (const auto& prune = options_.prune; prune && changes_masks(*prune, state_.step)) {
    network_.prune(scheduled_sparsity(*prune, state_.step));
    network_.refresh();
  }
  if (options_.threshold > 0) network_.set_threshold(threshold_now());
  const std::vector<TokenBatch> parts = next_batch();
  const double rate = schedule_.at(state_.step);
  const double loss = options_.update == Update::kMezo    ? mezo_step(parts, rate)
                      : options_.update == Update::kFused ? fused_step(parts, rate)
                                                          : gradient_step(parts, rate);
  if (!std::isfinite(loss))
    fail(ErrorKind::kFormat, "the loss of step {} is {}: a smaller learning rate than {:g} (learning_rate) may help",
         state_.step + 1, loss, options_.learning_rate);
  network_.refresh();
  ++state_.step;
  if (options_.threshold > 0) network_.set_threshold(threshold_now());
  return loss;
}

double Trainer::held_out_loss() {
  double sum = 0;
  size_t n = 0;
  for (const TokenBatch& batch : held_out_) {
    const bool asks = !batch.questions.empty();
    const size_t n_counted = asks ? batch.questions.size() : batch.n_counted();
    const double loss =
        asks ? choice_loss(network_, batch, 1.0) : network_.loss(batch, cross_entropy(compute_, batch, 1.0));
    sum += loss * double(n_counted);
    n += n_counted;
  }
  return n > 0 ? sum / double(n) : -1;
}

TrainSettings Trainer::settings_of_run() const {
  const TrainerOptions& o = options_;
  TrainSettings s = o.settings;
  s["update"] = std::to_string(int(o.update));
  s["optimizer"] = fmt::format("{} {:g} {:g} {:g} {:g}", name_of(o.optimizer.kind), o.optimizer.beta1,
                               o.optimizer.beta2, o.optimizer.eps, o.optimizer.weight_decay);
  s["learning rate"] = fmt::format("{:.17g} to {:.17g}", o.learning_rate, o.last_rate);
  s["number of steps"] = std::to_string(o.n_steps);
  s["number of warm-up steps"] = std::to_string(o.n_warmup);
  s["batch"] = fmt::format("{} windows of {} tokens", o.n_batch, o.n_ctx);
  s["clipping"] = fmt::format("{:.17g}", o.clip);
  s["seed"] = std::to_string(o.seed);
  if (o.l1 > 0) s["L1"] = fmt::format("{:.17g} in {}", o.l1, o.l1_stages);
  if (o.prune)
    s["pruning"] = fmt::format("{:g} to {:g} from step {}, {} times after {}", o.prune->initial, o.prune->final,
                               o.prune->begin, o.prune->n_changes, o.prune->every);
  if (o.update == Update::kMezo) s["eps"] = fmt::format("{:g}", o.mezo_eps);
  if (teacher_)
    s["distillation"] = fmt::format("{} {:g} {:g}", int(o.distill.divergence), o.distill.temperature, o.distill.share);
  return s;
}

void Trainer::save() {
  if (!options_.checkpoint.empty())
    write_checkpoint(options_.checkpoint, settings_of_run(), state_, network_.parameters, optimizer_.get());
}

TrainerReport Trainer::run(const std::function<void(const TrainProgress&)>& progress) {
  return run_until([&](const TrainProgress& p) {
    if (progress) progress(p);
    return false;
  });
}

TrainerReport Trainer::run_until(const std::function<bool(const TrainProgress&)>& ends) {
  TrainerReport report;
  report.n_parameters = network_.parameters.n_values();
  std::error_code ec;
  if (!options_.checkpoint.empty() && std::filesystem::exists(options_.checkpoint, ec)) {
    state_ = read_checkpoint(options_.checkpoint, settings_of_run(), network_.parameters, optimizer_.get());
    if (options_.prune && state_.step > options_.prune->begin) network_.keep_zeros();
    network_.refresh();
  }
  report.first_step = state_.step;
  TrainProgress told{.step = state_.step, .n_steps = options_.n_steps};
  try {
    if (state_.curve.empty()) state_.curve.push_back({0, 0, held_out_loss()});
    const Timer timer;
    size_t n_done = 0;
    n_tokens_done_ = 0;
    while (state_.step < options_.n_steps) {
      compute_.throw_if_stopped();
      told.learning_rate = schedule_.at(state_.step);
      const double loss = step();
      ++n_done;
      const bool last = state_.step == options_.n_steps;
      const bool measures = last || (options_.eval_every > 0 && state_.step % options_.eval_every == 0);
      state_.curve.push_back({state_.step, loss, -1});
      const double training = timer.seconds() - report.seconds_measuring;
      if (measures) {
        const Timer measuring;
        state_.curve.back().held_out = told.held_out = held_out_loss();
        report.seconds_measuring += measuring.seconds();
      }
      told.step = state_.step;
      told.loss = loss;
      told.tokens_per_s = double(n_tokens_done_) / training;
      told.seconds_left = timer.seconds() / double(n_done) * double(options_.n_steps - state_.step);
      if (last || (options_.checkpoint_every > 0 && state_.step % options_.checkpoint_every == 0)) save();
      if (ends && ends(told)) break;
    }
    if (state_.curve.back().held_out < 0) state_.curve.back().held_out = held_out_loss();  // was interrupted then
    report.seconds = timer.seconds();
    report.tokens_per_s = told.tokens_per_s;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kInterrupted || state_.step == report.first_step) throw;
    const Undisturbed whole(compute_);
    save();
    throw;
  }
  report.n_steps = state_.step;
  report.curve = state_.curve;
  report.held_out_before = state_.curve.front().held_out;
  report.held_out_after = state_.curve.back().held_out;
  return report;
}

}  // namespace hunch
