#include "compress/mixed_types.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/memory_info.h"
#include "compress/block_walk.h"
#include "compress/compress_matrix.h"
#include "compress/input_moments.h"
#include "compress/matrix/awq.h"
#include "compress/matrix/code_layout.h"
#include "compress/stand_ins.h"
#include "linear/values.h"
#include "measure/compare.h"

namespace hunch {
namespace {

constexpr size_t kWindow = 512;             // tokens that see each other
constexpr size_t kSensitivityTokens = 512;  // on which predictions are compared
constexpr size_t kPriceTokens = 2048;       // on which perplexity is measured

bool chooses(const CompressOptions& options, const Linear& w) {
  return InputMoments::covers(w.id.role) && std::ranges::find(options.roles, w.id.role) != options.roles.end();
}

Matrix values_of(Compute& compute, const Linear& w) {
  Matrix W(w.n_out, w.n_in);
  decode_rows(compute, Values(compute, w).rows(), W.view());
  return W;
}

Matrix decoded(Compute& compute, const EncodedMatrix& encoded) {
  Matrix W(encoded.rows, encoded.cols);
  decode_rows(compute, encoded.view(), W.view());
  return W;
}

class TypeSearch {
 public:
  TypeSearch(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
             const Progress& progress)
      : engine_(engine), ids_(ids), options_(options), progress_(progress) {
    collect();
  }
  MixedTypes run(const MixedBudget& budget);

 private:
  // A tensor and where its chosen matrices stand in the model.
  struct Place {
    std::vector<std::unique_ptr<Linear>*> slots;
    std::vector<double> errors;  // of its outputs, squared, in each type
  };

  void collect();
  void measure_errors();
  void measure_sensitivities();
  double divergence(std::span<const float> reference);
  void stand_in(StandIns& others, size_t tensor, DType type) const;
  double nll_of(std::span<const size_t> chosen, std::vector<float>& by_token) const;
  std::span<const int32_t> some(size_t n) const { return ids_.first(std::min({n, ids_.size(), context()})); }
  size_t context() const { return resolve_context(engine_.config(), 0); }
  std::vector<size_t> within(double max_increase, const std::vector<std::vector<TypeChoice>>& choices);

  const Engine& engine_;
  const std::span<const int32_t> ids_;
  const CompressOptions& options_;
  const Progress& progress_;
  MixedTypes found_;
  std::vector<Place> places_;  // of found_.tensors
};

void TypeSearch::collect() {
  ModelWeights& weights = engine_.model->weights();
  std::map<std::string, size_t> known;
  for (Layer& layer : weights.layers)
    layer.for_each_linear([&](std::unique_ptr<Linear>& slot) {
      if (!chooses(options_, *slot)) return;
      if (const std::string_view made = slot->made_into(); !made.empty())
        fail(ErrorKind::kUnsupported, "{} of layer {} is {}: compress the model that this one was made from",
             name_of(slot->id.role), slot->id.layer, made);
      const TensorRows& where = weights.tensors.at(slot->id);
      const auto [at, is_new] = known.emplace(where.stored, found_.tensors.size());
      if (is_new) {
        found_.tensors.push_back({where.stored, slot->id, 0, mixed_candidates(options_.methods, slot->n_in), {}, 0});
        places_.emplace_back();
      }
      found_.tensors[at->second].n_weights += uint64_t{slot->n_out} * slot->n_in;
      places_[at->second].slots.push_back(&slot);
    });
  for (size_t i = 0; i < places_.size(); ++i) {
    MixedTensor& t = found_.tensors[i];
    places_[i].errors.resize(t.types.size());
    for (const DType type : t.types) {
      const size_t n_in = (*places_[i].slots[0])->n_in;
      t.choices.push_back({t.n_weights / n_in * row_bytes(type, n_in), 0});
    }
  }
}

// ||(W - W') X||^2 over the text, dense inputs.
void TypeSearch::measure_errors() {
  Compute& compute = *engine_.compute;
  BlockWalk walk(engine_, ids_, {options_.n_tokens, kWindow});
  size_t n_done = 0;
  for (size_t layer = 0; layer < engine_.config().n_layer; ++layer) {
    walk.next();
    InputMoments moments(compute);
    walk.compute(&moments);
    for (size_t i = 0; i < places_.size(); ++i) {
      if (found_.tensors[i].id.layer != layer) continue;
      for (const std::unique_ptr<Linear>* slot : places_[i].slots) {
        const InputMoment& seen = moments.of((*slot)->id);
        if (seen.n_tokens == 0) continue;  // an expert that the text never comes to
        const Matrix W = values_of(compute, **slot);
        for (size_t t = 0; t < places_[i].errors.size(); ++t) {
          compute.throw_if_stopped();
          const EncodedMatrix rounded = encode_nearest(compute, W, {found_.tensors[i].types[t], {}});
          places_[i].errors[t] += output_error(compute, W, decoded(compute, rounded), seen.sum);
        }
      }
      if (progress_) progress_("errors", ++n_done, places_.size());
    }
  }
}

void TypeSearch::stand_in(StandIns& others, size_t tensor, DType type) const {
  Compute& compute = *engine_.compute;
  for (std::unique_ptr<Linear>* slot : places_[tensor].slots) {
    const std::span<const float> bias = (*slot)->bias();
    others.put(*slot, encode_nearest(compute, values_of(compute, **slot), {type, {}}), {bias.begin(), bias.end()});
  }
}

// Mean KL of the predictions as the model is now from `reference` [n, n_vocab].
double TypeSearch::divergence(std::span<const float> reference) {
  const std::span<const int32_t> ids = some(kSensitivityTokens);
  const size_t n_vocab = engine_.config().n_vocab;
  ContextOptions options;
  options.n_ctx = ids.size();
  options.mode = "dense";
  double kl = 0;
  Context(engine_, options).append_all(ids, [&](size_t first, MatView<const float> logits) {
    for (size_t r = 0; r < logits.rows; ++r)
      kl += kl_divergence(reference.subspan((first + r) * n_vocab, n_vocab), logits.row(r));
  });
  return kl / double(ids.size());
}

// How far the predictions move when one tensor alone has its smallest type; its losses in all types follow.
void TypeSearch::measure_sensitivities() {
  const std::span<const int32_t> ids = some(kSensitivityTokens);
  require_memory(uint64_t{ids.size()} * engine_.config().n_vocab * sizeof(float), "predictions to compare with",
                 "the types can be given by hand");
  std::vector<float> reference;
  ContextOptions options;
  options.n_ctx = ids.size();
  options.mode = "dense";
  Context(engine_, options).append_all(ids, [&](size_t, MatView<const float> logits) {
    for (size_t r = 0; r < logits.rows; ++r)
      reference.insert(reference.end(), logits.row(r).begin(), logits.row(r).end());
  });
  StandIns others(engine_.model->layouts());
  for (size_t i = 0; i < places_.size(); ++i) {
    engine_.compute->throw_if_stopped();
    MixedTensor& t = found_.tensors[i];
    const std::vector<double>& errors = places_[i].errors;
    const size_t worst = size_t(std::ranges::max_element(errors) - errors.begin());
    stand_in(others, i, t.types[worst]);
    const double moved = divergence(reference);
    others.clear();
    for (size_t c = 0; c < t.choices.size(); ++c)
      t.choices[c].loss = errors[worst] > 0 ? moved * errors[c] / errors[worst] : 0;
    if (progress_) progress_("sensitivity", i + 1, places_.size());
  }
}

// -log p of the text's first tokens with these types, in the mean; `by_token` is written.
double TypeSearch::nll_of(std::span<const size_t> chosen, std::vector<float>& by_token) const {
  StandIns others(engine_.model->layouts());
  for (size_t i = 0; i < chosen.size(); ++i) stand_in(others, i, found_.tensors[i].types[chosen[i]]);
  const std::span<const int32_t> ids = some(kPriceTokens);
  ContextOptions options;
  options.n_ctx = ids.size();
  options.mode = "dense";
  by_token.clear();
  double sum = 0;
  Context(engine_, options).append_all(ids, [&](size_t first, MatView<const float> logits) {
    for (size_t r = 0; r < logits.rows && first + r + 1 < ids.size(); ++r) {
      by_token.push_back(float(-log_prob(logits.row(r), ids[first + r + 1])));
      sum += by_token.back();
    }
  });
  return sum / double(std::max<size_t>(1, by_token.size()));
}

// The fewest upgrades that keep the text's perplexity, by bisection.
std::vector<size_t> TypeSearch::within(double max_increase, const std::vector<std::vector<TypeChoice>>& choices) {
  const std::vector<Upgrade> upgrades = upgrades_of(choices);
  std::vector<float> own, other;
  const double before = nll_of({}, own);
  found_.before = std::exp(before);
  const auto taken = [&](size_t n) {
    std::vector<size_t> chosen = first_choices(choices);
    for (size_t i = 0; i < n; ++i) chosen[upgrades[i].matrix] = upgrades[i].choice;
    return chosen;
  };
  size_t n_steps = 0;
  const auto holds = [&](size_t n) {
    const double after = nll_of(taken(n), other);
    if (progress_) progress_("budget", ++n_steps, 2 + size_t(std::ceil(std::log2(double(upgrades.size() + 1)))));
    if (after - before > std::log1p(max_increase)) return false;
    found_.perplexity = std::exp(after);
    return true;
  };
  size_t too_few = 0, enough = upgrades.size();
  if (!holds(enough))
    fail(ErrorKind::kUsage,
         "an increase of {:g} (max_ppl_increase) is not kept even by the largest types that are chosen from: {:.2f} "
         "after "
         "{:.2f}",
         max_increase, std::exp(nll_of(taken(enough), other)), found_.before);
  while (too_few < enough) {
    const size_t middle = (too_few + enough) / 2;
    holds(middle) ? enough = middle : too_few = middle + 1;
  }
  found_.perplexity = std::exp(nll_of(taken(enough), other));
  return taken(enough);
}

MixedTypes TypeSearch::run(const MixedBudget& budget) {
  uint64_t n_weights = 0, least = 0, most = 0;
  for (const MixedTensor& t : found_.tensors) {
    n_weights += t.n_weights;
    const auto by_bytes = [](const TypeChoice& a, const TypeChoice& b) { return a.bytes < b.bytes; };
    least += std::ranges::min_element(t.choices, by_bytes)->bytes;
    most += std::ranges::max_element(t.choices, by_bytes)->bytes;
  }
  if (n_weights == 0) fail(ErrorKind::kUsage, "no matrices are named");
  const auto bits_of = [&](uint64_t bytes) { return 8 * double(bytes) / double(n_weights); };
  if (budget.bits && !(*budget.bits >= bits_of(least)))
    fail(ErrorKind::kUsage,
         "{:g} bits of a weight (bits): the smallest types that fit these matrices' rows take {:.3f}, the largest "
         "{:.3f}",
         *budget.bits, bits_of(least), bits_of(most));
  measure_errors();
  measure_sensitivities();
  std::vector<std::vector<TypeChoice>> choices;
  for (const MixedTensor& t : found_.tensors) choices.push_back(t.choices);
  const std::vector<size_t> chosen =
      budget.bits ? spend(choices, upgrades_of(choices), uint64_t(*budget.bits / 8 * double(n_weights)))
                  : within(*budget.max_ppl_increase, choices);
  uint64_t bytes = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    found_.tensors[i].chosen = chosen[i];
    bytes += choices[i][chosen[i]].bytes;
  }
  found_.bits = bits_of(bytes);
  return std::move(found_);
}

}  // namespace

std::vector<DType> mixed_candidates(const Methods& methods, size_t n_in) {
  std::vector<DType> types;
  for (const DType type : {DType::kQ2_K, DType::kQ3_K, DType::kIQ4_XS, DType::kQ4_0, DType::kIQ4_NL, DType::kQ4_K,
                           DType::kQ4_1, DType::kQ5_0, DType::kQ5_K, DType::kQ5_1, DType::kQ6_K, DType::kQ8_0}) {
    if (n_in % info(type).block_elems != 0) continue;
    if (methods.rounder == Rounder::kGptq && !find_code_layout(type)) continue;
    if (methods.pruner != Pruner::kNone && info(type).has_min) continue;  // zeros would not stay zero
    types.push_back(type);
  }
  types.push_back(DType::kF16);
  return types;
}

std::map<std::string, DType> MixedTypes::types() const {
  std::map<std::string, DType> types;
  for (const MixedTensor& t : tensors) types[t.name] = t.type();
  return types;
}

DType MixedTypes::main_type() const {
  std::map<DType, uint64_t> weights;
  for (const MixedTensor& t : tensors) weights[t.type()] += t.n_weights;
  return std::ranges::max_element(weights, {}, [](const auto& entry) { return entry.second; })->first;
}

MixedTypes choose_types(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
                        const MixedBudget& budget, const Progress& progress) {
  HUNCH_CHECK(budget.bits.has_value() != budget.max_ppl_increase.has_value());
  if (options.methods.rounder != Rounder::kNearest && options.methods.rounder != Rounder::kGptq)
    fail(ErrorKind::kUsage, "types are chosen for rtn and gptq, alone or after a pruner; the method is {}",
         name_of(options.methods));
  if (budget.max_ppl_increase && !(*budget.max_ppl_increase > 0))
    fail(ErrorKind::kUsage, "an increase of {} (max_ppl_increase): expected more than 0", *budget.max_ppl_increase);
  if (ids.size() < kMinCompressTokens)
    fail(ErrorKind::kUsage, "the text has {} tokens; at least {} are needed", ids.size(), kMinCompressTokens);
  return TypeSearch(engine, ids, options, progress).run(budget);
}

}  // namespace hunch
