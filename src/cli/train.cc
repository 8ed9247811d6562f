// hunch train: fit an adapter, or all weights, to a text.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/sha256.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "cli/table.h"
#include "cli/train_flags.h"
#include "formats/format.h"
#include "io/printable.h"
#include "model/fingerprint.h"
#include "train/save.h"
#include "train/trainer.h"

namespace hunch::cli {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

bool trains_all(const TrainFlags& flags) { return flags.method == "full"; }
bool writes_folder(const TrainFlags& flags) { return !trains_all(flags) && !flags.out.ends_with(".gguf"); }

// "tone/" is the same folder as "tone".
fs::path output_path(const TrainFlags& flags) {
  const fs::path out = flags.out;
  return out.has_filename() ? out : out.parent_path();
}

// Of Adam and Lion as is usual; plain steps follow the gradient's own size.
double default_rate(const TrainFlags& flags) {
  const bool all = trains_all(flags);
  if (flags.optimizer == "lion") return all ? 3e-5 : 2e-4;
  if (flags.optimizer == "sgd" || flags.optimizer == "lomo") return all ? 3e-2 : 0.3;
  if (flags.optimizer == "mezo") return all ? 1e-6 : 1e-3;
  return all ? 2e-4 : 2e-3;
}

TrainerOptions options_of(const TrainFlags& flags, const Engine& engine) {
  TrainerOptions o;
  if (flags.optimizer == "mezo") o.update = Update::kMezo;
  if (flags.optimizer == "lomo") o.update = Update::kFused;
  const bool plain = o.update != Update::kGradients;
  o.optimizer.kind = plain ? OptimizerKind::kSgd : optimizer_from(flags.optimizer);
  if (o.optimizer.kind == OptimizerKind::kLion) o.optimizer.beta2 = 0.99f;
  o.optimizer.weight_decay = flags.weight_decay;
  o.learning_rate = flags.learning_rate > 0 ? flags.learning_rate : default_rate(flags);
  o.last_rate = flags.last_rate;
  o.n_ctx = flags.n_ctx > 0 ? flags.n_ctx : std::min<size_t>(256, engine.config().n_ctx_train);
  o.n_batch = flags.n_batch;
  o.clip = flags.clip;
  o.l1 = flags.l1;
  o.seed = flags.seed;
  o.eval_every = flags.eval_every;
  o.checkpoint_every = flags.checkpoint_every;
  o.checkpoint = output_path(flags).string() + ".checkpoint";
  o.distill.divergence = flags.divergence == "reverse" ? Divergence::kReverse : Divergence::kForward;
  o.distill.temperature = flags.distill_temperature;
  o.distill.share = float(flags.distill_share);
  return o;
}

void check_flags(const TrainFlags& flags) {
  if (flags.text.empty())
    fail(ErrorKind::kUsage, "on which text? give --text FILE, some 100 KB or more like what the model is to write");
  if (trains_all(flags) && (flags.rank || flags.alpha || !flags.only.empty()))
    fail(ErrorKind::kUsage, "--rank, --alpha and --only are of adapters: --method lora, rslora or dora");
  const bool reshapes = flags.type != "auto" || flags.activation != "auto" || flags.l1 > 0;
  if (reshapes && !trains_all(flags))
    fail(ErrorKind::kUsage, "--type, --activation and --l1 change the model itself: they go with --method full");
  if (flags.activation_threshold != 0 && (flags.activation != "relu" || flags.activation_threshold < 0))
    fail(ErrorKind::kUsage, "--activation-threshold: expected at least 0, with --activation relu");
  if (flags.method == "dora" && !writes_folder(flags))
    fail(ErrorKind::kUsage, "-o: a GGUF adapter cannot hold DoRA; give a folder, as PEFT has them");
  if (trains_all(flags) && !flags.out.ends_with(".gguf"))
    fail(ErrorKind::kUsage, "-o: --method full writes a model, expected a name that ends with .gguf");
  if (!(flags.n_epochs > 0)) fail(ErrorKind::kUsage, "--epochs: expected more than 0");
  if (!(flags.last_rate >= 0 && flags.last_rate <= 1))
    fail(ErrorKind::kUsage, "--last-rate: expected a share of the peak from 0 to 1");
  if (!(flags.weight_decay >= 0 && flags.clip >= 0 && flags.learning_rate >= 0))
    fail(ErrorKind::kUsage, "--weight-decay, --clip and --learning-rate: expected at least 0");
  if (!(flags.distill_share >= 0 && flags.distill_share <= 1) || !(flags.distill_temperature > 0))
    fail(ErrorKind::kUsage, "--distill-share: expected 0 to 1; --distill-temperature: more than 0");
  std::error_code ec;
  if (const fs::path in = output_path(flags).parent_path(); !in.empty() && !fs::is_directory(in, ec))
    fail(ErrorKind::kUsage, "-o: there is no folder '{}' to write into", printable(in.string(), 300));
  if (!flags.model.lora.empty()) fail(ErrorKind::kUsage, "merge the adapter into a model first (`hunch merge`)");
}

// What is trained on, and what is held out: a text of its own, or the end of the one.
struct Texts {
  std::vector<int32_t> ids, held_out;
};

Texts read_texts(const TrainFlags& flags, const Engine& engine, size_t n_ctx) {
  Texts texts{engine.encode(read_text(flags.text)), {}};
  if (!flags.eval.empty()) {
    texts.held_out = engine.encode(read_text(flags.eval));
    return texts;
  }
  constexpr double kShare = 0.05, kMostShare = 0.2;
  const size_t n = std::max(size_t(kShare * double(texts.ids.size())), n_ctx + 1);
  if (double(n) > kMostShare * double(texts.ids.size())) {
    if (!flags.model.quiet)
      note("note: the text is too short to hold a part of it out; --eval FILE measures the loss on another");
    return texts;
  }
  texts.held_out.assign(texts.ids.end() - ptrdiff_t(n), texts.ids.end());
  texts.ids.resize(texts.ids.size() - n);
  return texts;
}

std::optional<AdapterOptions> low_rank_of(const TrainFlags& flags) {
  if (trains_all(flags)) return {};
  AdapterOptions o;
  o.kind = flags.method == "dora"     ? LowRankKind::kDora
           : flags.method == "rslora" ? LowRankKind::kRsLora
                                      : LowRankKind::kLora;
  o.rank = size_t(flags.rank.value_or(8));
  o.alpha = flags.alpha ? float(parse_real(*flags.alpha, "--alpha")) : 2 * float(o.rank);
  return o;
}

std::vector<Role> roles_of(const TrainFlags& flags) {
  if (!flags.only.empty()) return parse_roles(flags.only, "--only");
  return {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads, Role::kGate, Role::kUp, Role::kDown};
}

void set_steps(const TrainFlags& flags, size_t n_ids, TrainerOptions& o) {
  const double windows = n_ids > 0 ? double((n_ids - 1) / o.n_ctx) : 0;
  o.n_steps = flags.n_steps > 0 ? flags.n_steps
                                : std::max<size_t>(1, size_t(std::ceil(flags.n_epochs * windows / double(o.n_batch))));
  o.n_warmup = flags.n_warmup ? size_t(*flags.n_warmup) : std::min<size_t>(100, o.n_steps / 20);
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
          {"method", flags.method},
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

void save(const TrainFlags& flags, Network& network) {
  if (trains_all(flags)) return write_trained_model(flags.out, network);
  if (writes_folder(flags)) return write_peft_adapter(flags.out, network, flags.model.model, flags.force);
  write_gguf_adapter(flags.out, network, fs::path(flags.out).stem().string());
}

// What goes wrong leaves the checkpoint where it is, also where the output cannot be written.
TrainerReport train_and_save(Trainer& trainer, Network& network, const TrainFlags& flags,
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
    save(flags, network);
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
  check_flags(flags);
  std::vector<std::string> files = {flags.text, flags.eval, flags.teacher};
  (writes_folder(flags) ? check_output_folder : check_output)(flags.out, inputs_of(flags.model, files), flags.force,
                                                              "-o");
  const Engine engine = open_engine(flags.model);
  TrainerOptions options = options_of(flags, engine);
  const Texts texts = read_texts(flags, engine, options.n_ctx);
  set_steps(flags, texts.ids.size(), options);
  const std::optional<AdapterOptions> low_rank = low_rank_of(flags);
  const std::vector<Role> roles = roles_of(flags);
  Network network(*engine.model, *engine.compute);
  low_rank ? network.add_low_rank(*low_rank, roles, options.seed) : network.train_all();
  if (flags.type != "auto") network.round_weights(*dtype_from_name(flags.type));
  if (flags.activation == "relu") network.become_relu(flags.activation_threshold);
  options.settings = {{"model", tensor_fingerprint(engine.model->file())},
                      {"text", sha256_hex(std::as_bytes(std::span(texts.ids)))},
                      {"method", flags.method},
                      {"type", flags.type},
                      {"activation", fmt::format("{} {:g}", flags.activation, flags.activation_threshold)}};
  if (low_rank) options.settings["adapter"] = fmt::format("{} {:g} {}", low_rank->rank, low_rank->alpha, flags.only);

  std::optional<Engine> teacher_engine;
  std::optional<Network> teacher;
  if (!flags.teacher.empty()) {
    ModelFlags theirs = flags.model;
    theirs.model = flags.teacher;
    teacher_engine = open_engine(theirs, engine.compute);
    if (teacher_engine->need_tokenizer().spec().pieces != engine.need_tokenizer().spec().pieces)
      fail(ErrorKind::kUnsupported,
           "the teacher's vocabulary is another: a divergence needs the same tokens on both sides");
    teacher.emplace(*teacher_engine->model, *engine.compute);
    options.settings["teacher"] = tensor_fingerprint(teacher_engine->model->file());
  }
  std::error_code ec;
  if (flags.restart) fs::remove(options.checkpoint, ec);
  print_first_line(engine, flags.model, {}, 0, 0);
  Trainer trainer(network, texts.ids, texts.held_out, options, teacher ? &*teacher : nullptr);
  const TrainerReport report = train_and_save(trainer, network, flags, options);
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
