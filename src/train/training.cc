#include "train/training.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/sha256.h"
#include "formats/format.h"
#include "io/printable.h"
#include "model/fingerprint.h"
#include "train/save.h"

namespace hunch {
namespace {

// Of Adam, Muon and Lion as is usual; plain steps follow the gradient's own size.
double default_rate(const TrainingJob& job) {
  const bool all = job.trains_all(), plain = job.optimizer == "sgd" || job.optimizer == "lomo";
  if (!job.has_low_rank() && !all && !plain) return job.optimizer == "lion" ? 1e-3 : 1e-2;
  if (job.optimizer == "mezo") return all ? 1e-6 : 1e-3;
  if (job.is_new) return job.optimizer == "lion" ? 3e-4 : plain ? 0.1 : 2e-3;
  if (job.optimizer == "lion") return all ? 3e-5 : 2e-4;
  if (plain) return all ? 3e-2 : 0.3;
  return all ? 2e-4 : 2e-3;
}

AdapterOptions adapter_of(const TrainingJob& job) {
  AdapterOptions o;
  o.kind = job.method == "dora"     ? LowRankKind::kDora
           : job.method == "rslora" ? LowRankKind::kRsLora
                                    : LowRankKind::kLora;
  o.rank = job.rank;
  o.alpha = job.alpha > 0 ? job.alpha : 2 * float(job.rank);
  return o;
}

// A type that new weights are kept in, not one that training has to get used to.
bool is_kept_in(const TrainingJob& job) { return (job.is_new || job.grows) && job.type && is_plain(*job.type); }

}  // namespace

const std::vector<std::string>& training_methods() {
  static const std::vector<std::string> kNames = {"lora", "rslora", "dora", "ia3", "prompt", "prefix", "full"};
  return kNames;
}

bool fits_gguf_adapter(const TrainingJob& job) { return job.has_low_rank() && job.method != "dora"; }

bool writes_folder(const TrainingJob& job, const std::filesystem::path& out) {
  return !job.trains_all() && out.extension() != ".gguf";
}

void set_optimizer(const TrainingJob& job, TrainerOptions& o) {
  if (job.optimizer == "mezo") o.update = Update::kMezo;
  if (job.optimizer == "lomo") o.update = Update::kFused;
  o.optimizer.kind = o.update != Update::kGradients ? OptimizerKind::kSgd : optimizer_from(job.optimizer);
  if (o.optimizer.kind == OptimizerKind::kLion) o.optimizer.beta2 = 0.99f;
  o.learning_rate = job.learning_rate > 0 ? job.learning_rate : default_rate(job);
  o.threshold = job.relu.value_or(0);
}

void set_steps(const TrainingJob& job, size_t n_windows, double n_epochs, std::optional<size_t> n_warmup,
               TrainerOptions& o) {
  if (o.n_steps == 0)
    o.n_steps =
        std::max<size_t>(1, size_t(std::ceil(n_epochs * double(n_windows) / double(std::max<size_t>(1, o.n_batch)))));
  o.n_warmup = n_warmup.value_or(std::min<size_t>(100, o.n_steps / 20));
  if (job.prune == 0) return;
  constexpr size_t kChanges = 20;  // of the masks, over two thirds of the steps: the rest is for recovery
  const size_t end = 2 * o.n_steps / 3, n = end - std::min(end, o.n_warmup);
  o.prune = PruningSchedule{.initial = 0,
                            .final = job.prune,
                            .begin = o.n_warmup,
                            .every = std::max<size_t>(1, n / kChanges),
                            .n_changes = std::clamp<size_t>(n, 1, kChanges),
                            .power = 3};
}

std::unique_ptr<Model> first_model(const TrainingJob& job, const Model& given, Compute& compute, uint64_t seed,
                                   const std::string& name) {
  if (!job.is_new && !job.grows) return nullptr;
  const DType dtype = is_kept_in(job) ? *job.type : DType::kF16;
  ModelFile file =
      job.is_new ? new_model(given, job.shape, dtype, job.initial, seed) : grown_model(given, job.shape, dtype, seed);
  file.meta.set("general.name", name);
  return std::make_unique<Model>(std::move(file), WeightOptions{}, compute);
}

void prepare(const TrainingJob& job, uint64_t seed, Network& network) {
  network.set_precision(job.precision);
  if (!job.only_layers.empty()) network.only_layers(job.only_layers);
  if (job.method == "ia3" && !job.trains_all()) return network.add_factors();
  if (job.has_virtual_tokens()) return network.add_virtual_tokens(job.n_virtual_tokens, job.method == "prefix", seed);
  if (!job.trains_all()) {
    static const std::vector<Role> kAll = {Role::kQuery, Role::kKey, Role::kValue, Role::kHeads,
                                           Role::kGate,  Role::kUp,  Role::kDown};
    return network.add_low_rank(adapter_of(job), job.roles.empty() ? kAll : job.roles, seed);
  }
  network.train_all();
  if (job.keep_zeros) network.keep_zeros();
  if (job.type && !is_kept_in(job)) network.round_weights(*job.type, job.learns_clipping);
  if (job.relu) network.become_relu();
}

TrainSettings settings_of(const TrainingJob& job, const Model& model) {
  TrainSettings s = {
      {"model", tensor_fingerprint(model.file())},
      {"method", job.trains_all() ? "full" : job.method},
      {"type", fmt::format("{}{}", job.type ? name_of(*job.type) : "its own", job.learns_clipping ? ", clipped" : "")},
      {"layers", job.only_layers.empty() ? "all" : fmt::format("{}", fmt::join(job.only_layers, ","))},
      {"zeros", job.keep_zeros ? "kept" : "free"},
      {"activation", job.relu ? fmt::format("relu {:g}", *job.relu) : "its own"},
      {"precision", job.precision == Precision::kBf16 ? "bf16" : "f32"}};
  if (job.has_virtual_tokens()) s["adapter"] = fmt::format("{} virtual tokens", job.n_virtual_tokens);
  if (!job.has_low_rank()) return s;
  std::string roles;
  for (const Role role : job.roles) roles += fmt::format(" {}", int(role));
  s["adapter"] = fmt::format("rank {}, alpha {:g}, matrices{}", job.rank, adapter_of(job).alpha, roles);
  return s;
}

void save_trained(const TrainingJob& job, Network& network, const std::filesystem::path& out,
                  const std::string& base_name, bool replace) {
  if (job.trains_all()) return write_trained_model(out, network);
  if (writes_folder(job, out)) return write_peft_adapter(out, network, base_name, replace);
  write_gguf_adapter(out, network, out.stem().string());
}

void require_same_vocabulary(const Tokenizer& own, const Tokenizer& teachers) {
  const auto &ours = own.spec().pieces, &theirs = teachers.spec().pieces;
  if (ours.size() != theirs.size())
    fail(ErrorKind::kUnsupported,
         "the teacher has a vocabulary of {} tokens, the model one of {}: a divergence needs the same on both sides; a "
         "text that the teacher writes does not",
         theirs.size(), ours.size());
  const auto first = std::ranges::mismatch(ours, theirs).in1;
  if (first == ours.end()) return;
  const size_t id = size_t(first - ours.begin());
  fail(
      ErrorKind::kUnsupported,
      "the teacher's token {} is '{}', the model's '{}': a divergence needs the same tokens on both sides; a text that "
      "the teacher writes does not",
      id, printable(theirs[id]), printable(ours[id]));
}

Example encode_example(const Tokenizer& tokenizer, const std::string& prompt, const std::string& answer) {
  Example e{tokenizer.encode(prompt + answer), std::max<size_t>(1, tokenizer.encode(prompt).size())};
  if (const auto eos = tokenizer.spec().eos; eos && (e.ids.empty() || e.ids.back() != *eos)) e.ids.push_back(*eos);
  if (e.ids.size() < 2 || answer.empty())
    fail(ErrorKind::kUsage, "a prompt of {} bytes with an answer of {}: expected both to have tokens", prompt.size(),
         answer.size());
  e.n_prompt = std::min(e.n_prompt, e.ids.size() - 1);
  return e;
}

size_t windows_of_text(size_t n_tokens, size_t n_ctx) {
  return n_tokens == 0 || n_ctx == 0 ? 0 : (n_tokens - 1) / n_ctx;
}

std::string hash_of(std::span<const int32_t> ids, std::span<const Example> examples,
                    std::span<const Question> questions) {
  std::vector<int32_t> all(ids.begin(), ids.end());
  const auto add = [&](const Example& e) {
    all.push_back(int32_t(e.ids.size()));
    all.push_back(int32_t(e.n_prompt));
    all.insert(all.end(), e.ids.begin(), e.ids.end());
  };
  for (const Example& e : examples) add(e);
  for (const Question& q : questions) {
    all.push_back(int32_t(q.gold));
    for (const Example& e : q.choices) add(e);
  }
  return sha256_hex(std::as_bytes(std::span(all)));
}

std::vector<int32_t> hold_out(std::vector<int32_t>& ids, size_t n_ctx) {
  constexpr double kShare = 0.05, kMostShare = 0.2;
  const size_t n = std::max(size_t(kShare * double(ids.size())), n_ctx + 1);
  if (double(n) > kMostShare * double(ids.size())) return {};
  std::vector<int32_t> out(ids.end() - ptrdiff_t(n), ids.end());
  ids.resize(ids.size() - n);
  return out;
}

}  // namespace hunch
