#include "compress/sparsify.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/memory_info.h"
#include "compress/budget_check.h"
#include "compress/calibration.h"
#include "compress/fit_store.h"
#include "compress/head_fit.h"
#include "compress/layer_fit.h"
#include "compress/plan_compare.h"
#include "compress/sparsify_method.h"
#include "compress/sparsify_names.h"
#include "compress/text_parts.h"
#include "io/printable.h"
#include "select/selectors.h"

namespace hunch {
namespace {

// Of one layer. No candidate: exact, or every head.
struct Choice {
  const PredictorCandidate* candidate = nullptr;
  size_t point = 0;
  const HeadCandidate* heads = nullptr;
  size_t head_point = 0;
};

// The point of a curve that is nearest to a twentieth missed.
size_t probe_point(const DensityCurve& curve) {
  size_t point = 0;
  for (size_t p = 0; p < curve.size(); ++p)
    if (std::abs(curve[p].loss - 0.05f) < std::abs(curve[point].loss - 0.05f)) point = p;
  return point;
}

class Sparsifier {
 public:
  Sparsifier(const Engine& engine, std::span<const int32_t> ids, const SparsifyOptions& options,
             const Progress& progress)
      : engine_(engine), c_(engine.config()), options_(options), progress_(progress) {
    check();
    text_ = parts_of(ids, options);
    report_.n_train = text_.fit.size(), report_.n_calibrate = text_.calibrate.size(),
    report_.n_check = text_.check.size();
  }

  SparsifyReport run() {
    report_.method = "predict";
    fit();
    measure_sensitivity();
    if (options_.screen) report_.screen = fit_screen(engine_, text_.fit, text_.calibrate, text_.check, progress_);
    calibrate();
    choose_keys();
    check_result();
    describe();
    return std::move(report_);
  }

 private:
  void check() {
    for (const LayerConfig& l : c_.layers)
      if (l.moe.beside_mlp && l.has_experts())
        fail(
            ErrorKind::kUnsupported,
            "layer {} has experts beside an MLP: predictors are fitted to one or the other; the methods (method) cats, "
            "griffin and teal serve both",
            l.index);
    require_blocks(c_, /*attention=*/false, "sparsify");
    if (!is_relu_family(c_.activation))
      fail(ErrorKind::kUnsupported,
           "the model's activation is never exactly zero: a neuron predictor needs a ReLU model; the methods (method) "
           "cats, "
           "griffin and teal need none");
    if (std::ranges::find(predictor_names(), options_.predictor) == predictor_names().end())
      fail(ErrorKind::kUsage, "unknown predictor '{}'; possible: {}", printable(options_.predictor),
           fmt::join(predictor_names(), ", "));
    check_budget_options(options_);
  }

  // Traces as many layers at a time as a quarter of the memory, at most 2 GB, holds; none that an earlier, interrupted
  // run has finished.
  void fit() {
    fits_.resize(c_.n_layer);
    head_fits_.resize(c_.n_layer);
    std::vector<bool> done(c_.n_layer);
    std::optional<FitStore> store;
    if (!options_.finished.empty()) {
      store.emplace(options_.finished, fit_key(engine_.model->file(), text_.traced(), text_.fit.size(), options_));
      for (size_t l = 0; l < c_.n_layer; ++l)
        if (std::optional<StoredFit> found = store->load(l, c_)) {
          fits_[l] = std::move(found->neurons);
          head_fits_[l] = std::move(found->heads);
          done[l] = true;
        }
      if (const auto n = std::ranges::count(done, true))
        report_.notes.push_back(fmt::format("{} of {} layers were finished by an earlier run", n, c_.n_layer));
    }
    const bool heads = selects_heads();
    const uint64_t per_token = trace_bytes_per_token(c_, options_.input) + (heads ? head_trace_bytes_per_token(c_) : 0);
    const uint64_t per_layer = per_token * text_.traced().size();
    const uint64_t available = available_memory_bytes(),
                   most = std::min<uint64_t>(available ? available / 4 : UINT64_MAX, uint64_t{2} << 30);
    const size_t at_once = std::clamp<size_t>(size_t(most / per_layer), 1, c_.n_layer);
    for (size_t first = 0, end; first < c_.n_layer; first = end) {
      for (end = first; end < c_.n_layer && done[end] == done[first] && (done[first] || end - first < at_once);) ++end;
      if (done[first]) continue;
      MlpTraceOptions trace_options;
      trace_options.first_layer = first;
      trace_options.n_layers = end - first;
      trace_options.input = options_.input;
      trace_options.n_first = text_.fit.size();
      std::optional<HeadRecorder> recorder;
      if (heads) recorder.emplace(engine_, options_.head_input, first, trace_options.n_layers, text_.traced().size());
      std::vector<MlpTrace> traces =
          trace_mlps(engine_, text_.traced(), trace_options, progress_, recorder ? &*recorder : nullptr);
      std::vector<HeadTrace> head_traces;
      if (heads) head_traces = recorder->take();
      for (size_t begin = 0, next = 0; begin < traces.size(); begin = next) {
        const size_t l = traces[begin].layer;
        for (next = begin + 1; next < traces.size() && traces[next].layer == l;) ++next;
        const std::span of_layer = std::span(traces).subspan(begin, next - begin);
        fits_[l] = fit_layer(engine_, of_layer, options_, progress_);
        for (MlpTrace& trace : of_layer) trace = {};
        if (heads) {
          head_fits_[l] =
              fit_heads(engine_, head_traces[l - first], text_.fit.size(), options_.heads == HeadMode::kLazy);
          head_traces[l - first] = {};
        }
        if (store) store->save(l, {fits_[l], head_fits_[l]}, c_);
      }
    }
    for (const LayerFit& f : fits_)
      if (!f.note.empty()) report_.notes.push_back(f.note);
  }

  bool selects_heads() const {
    return options_.heads != HeadMode::kOff && can_choose_heads(c_) && c_.n_kv_head > 1 &&
           std::ranges::all_of(c_.layers, &LayerConfig::has_attention);
  }

  // Of a layer's neurons: which experts a token has is known only behind attention.
  Look input_of(size_t layer) const { return c_.layers[layer].has_experts() ? Look::kHere : options_.input; }

  Plan plan_of(std::span<const Choice> choices) const {
    Plan plan = Plan::exact(c_);
    plan.name = "sparse";
    plan.lazy_keys = lazy_keys_;
    plan.set_screen(report_.screen.screen);
    const auto set = [&](size_t layer, Point point, const auto& candidate, size_t p, Look look) {
      const float threshold = candidate.curve[p].threshold;
      plan.set(layer, point, {std::make_shared<const Predicted>(*candidate.predictor, threshold), look});
      plan.owners.push_back(candidate.predictor);
    };
    for (size_t l = 0; l < choices.size(); ++l) {
      const Choice& c = choices[l];
      if (c.candidate) set(l, Point::kNeurons, *c.candidate, c.point, input_of(l));
      if (c.heads) set(l, Point::kHeads, *c.heads, c.head_point, options_.head_input);
    }
    return plan;
  }

  std::vector<CompareRow> measure(std::span<const Plan> plans, std::span<const int32_t> ids, size_t n_decode,
                                  bool exact = false) {
    return compare_plans(engine_, plans, ids, n_decode, exact);
  }

  // What a share of a layer's contributions is worth in the end: KL to dense when that layer's MLP, or its attention,
  // alone is restricted.
  void measure_sensitivity() {
    sensitivity_.assign(c_.n_layer, 0.0);
    head_sensitivity_.assign(c_.n_layer, 0.0);
    struct Probe {
      size_t layer;
      Choice choice;
    };
    std::vector<Probe> probes;
    for (size_t l = 0; l < c_.n_layer; ++l) {
      if (!fits_[l].candidates.empty()) {
        const PredictorCandidate& candidate = fits_[l].candidates.back();
        probes.push_back({l, {.candidate = &candidate, .point = probe_point(candidate.curve)}});
      }
      if (!head_fits_[l].candidates.empty()) {
        const HeadCandidate& candidate = head_fits_[l].candidates.back();
        probes.push_back({l, {.heads = &candidate, .head_point = probe_point(candidate.curve)}});
      }
    }
    const auto ids = text_.calibrate.first(
        std::min<size_t>(text_.calibrate.size(), std::clamp<size_t>(24576 / c_.n_layer, 512, 4096)));
    const std::vector<double> found = sensitivities(
        engine_, ids, probes.size(),
        [&](size_t i) -> LossyPlan {
          const auto& [layer, choice] = probes[i];
          std::vector<Choice> choices(c_.n_layer);
          choices[layer] = choice;
          return {plan_of(choices), choice.heads ? choice.heads->curve[choice.head_point].loss
                                                 : choice.candidate->curve[choice.point].loss};
        },
        false, progress_);
    for (size_t i = 0; i < probes.size(); ++i)
      (probes[i].choice.heads ? head_sensitivity_ : sensitivity_)[probes[i].layer] = found[i];
  }

  // Every layer's best predictors and points when a unit of the model's MLP bytes is worth `price` of KL.
  std::vector<Choice> choose(double price) const {
    double unit = 0;
    for (const LayerFit& f : fits_) unit += f.first_bytes + f.second_bytes;
    std::vector<Choice> choices(fits_.size());
    for (size_t l = 0; l < fits_.size(); ++l) {
      double best = price * fits_[l].exact_bytes() / unit;
      for (const PredictorCandidate& candidate : fits_[l].candidates)
        for (size_t p = 0; p < candidate.curve.size(); ++p) {
          const double cost =
              sensitivity_[l] * candidate.curve[p].loss + price * fits_[l].bytes(candidate, candidate.curve[p]) / unit;
          if (cost < best) best = cost, choices[l].candidate = &candidate, choices[l].point = p;
        }
      best = price * head_fits_[l].all_bytes() / unit;
      for (const HeadCandidate& candidate : head_fits_[l].candidates)
        for (size_t p = 0; p < candidate.curve.size(); ++p) {
          const double cost = head_sensitivity_[l] * candidate.curve[p].loss +
                              price * head_fits_[l].bytes(candidate, candidate.curve[p]) / unit;
          if (cost < best) best = cost, choices[l].heads = &candidate, choices[l].head_point = p;
        }
    }
    return choices;
  }

  double density_of(std::span<const Choice> choices) const {
    double sum = 0;
    for (const Choice& c : choices) sum += c.candidate ? c.candidate->curve[c.point].density : 1.0;
    return sum / double(choices.size());
  }

  // The highest price, and so the fewest bytes, within the budget.
  void calibrate() {
    constexpr double kLowest = -7, kHighest = 3;  // log10 of the price
    constexpr int kSteps = 9;
    const auto choices_at = [&](double log_price) { return choose(std::pow(10.0, log_price)); };
    double log_price = 0;
    if (options_.density > 0) {
      log_price =
          bisect(kHighest, kLowest, 24, [&](double p) { return density_of(choices_at(p)) <= options_.density; });
    } else {
      BudgetTest within(engine_, text_, options_, false, progress_, kSteps);
      log_price = bisect(kLowest, kHighest, kSteps, [&](double p) { return within(plan_of(choices_at(p))); });
    }
    price_ = std::pow(10.0, log_price);
    choices_ = choose(price_);
    check_density(options_, report_, density_of(choices_), "these predictors");
  }

  // Late keys spare bytes, and cost products of many tokens with few rows: what is faster depends on the machine.
  void choose_keys() {
    lazy_keys_ = options_.heads == HeadMode::kLazy;
    if (options_.heads != HeadMode::kAuto || std::ranges::none_of(choices_, [](const Choice& c) { return c.heads; }))
      return;
    std::vector<Plan> plans(2, plan_of(choices_));
    plans[1].lazy_keys = true;
    const std::vector<CompareRow> rows =
        measure(plans, text_.calibrate.first(std::min<size_t>(text_.calibrate.size(), 256)), 64);
    lazy_keys_ = rows[2].tokens_per_s > 1.02 * rows[1].tokens_per_s;
    report_.notes.insert(report_.notes.begin(), fmt::format("keys of heads that are left out: {:.1f} tokens/s when "
                                                            "written with their token, {:.1f} when computed late; {}",
                                                            rows[1].tokens_per_s, rows[2].tokens_per_s,
                                                            lazy_keys_ ? "late" : "with their token"));
  }

  void check_result() {
    check_budget(
        options_, report_,
        [&] {
          const Plan plan = plan_of(choices_);
          return measure({&plan, 1}, text_.check, 64, true);
        },
        [&] { choices_ = choose(price_ /= 2); });
    if (std::ranges::none_of(choices_, [](const Choice& c) { return c.candidate || c.heads; }))
      report_.notes.push_back("no predictor saves bytes within this budget: every layer stays exact");
  }

  void describe() {
    begin_sidecar(engine_, text_, options_, report_, progress_);
    Sidecar& s = report_.sidecar;
    s.lazy_keys = lazy_keys_ && std::ranges::any_of(choices_, [](const Choice& c) { return c.heads; });
    for (size_t l = 0; l < c_.n_layer; ++l) {
      const LayerFit& f = fits_[l];
      SparsifyLayer row{"none", f.active};
      row.exact_bytes = row.bytes = f.exact_bytes();
      row.note = f.note;
      if (const PredictorCandidate* chosen = choices_[l].candidate) {
        const CurvePoint& p = chosen->curve[choices_[l].point];
        row.predictor = chosen->name;
        row.density = p.density, row.recall = p.recall, row.missed = p.loss;
        row.predictor_bytes = size_t(f.n_mlps * double(chosen->predictor->bytes()));
        row.bytes = f.bytes(*chosen, p);
        s.layers[l] = {chosen->predictor, input_of(l), chosen->curve, choices_[l].point, {}};
        for (CurvePoint& point : s.layers[l].curve) point.loss *= float(sensitivity_[l]);
      }
      s.layers[l].frequency = f.frequency;
      const HeadFit& h = head_fits_[l];
      row.attention_exact_bytes = row.attention_bytes = h.all_bytes();
      if (const HeadCandidate* chosen = choices_[l].heads) {
        const CurvePoint& p = chosen->curve[choices_[l].head_point];
        row.head_predictor = chosen->name;
        row.head_density = p.density, row.head_recall = p.recall, row.head_missed = p.loss;
        row.attention_bytes = h.bytes(*chosen, p);
        s.layers[l].heads = {chosen->predictor, options_.head_input, chosen->curve, choices_[l].head_point};
        for (CurvePoint& point : s.layers[l].heads.curve) point.loss *= float(head_sensitivity_[l]);
      }
      report_.layers.push_back(std::move(row));
    }
  }

  const Engine& engine_;
  const ModelConfig& c_;
  const SparsifyOptions& options_;
  const Progress& progress_;
  TextParts text_;
  std::vector<LayerFit> fits_;                          // [n_layer]
  std::vector<HeadFit> head_fits_;                      // [n_layer], without candidates where heads are not chosen
  std::vector<double> sensitivity_, head_sensitivity_;  // [n_layer] KL per share of the contributions missed
  double price_ = 0;
  bool lazy_keys_ = false;
  std::vector<Choice> choices_;
  SparsifyReport report_;
};

}  // namespace

SparsifyReport sparsify(const Engine& engine, std::span<const int32_t> ids, const SparsifyOptions& options,
                        const Progress& progress) {
  const bool zeros = is_relu_family(engine.config().activation);
  const std::string method = options.method == "auto" ? (zeros ? "predict" : "cats") : options.method;
  if (method == "predict") return Sparsifier(engine, ids, options, progress).run();
  const Method* named = method_named(method);
  if (!named)
    fail(ErrorKind::kUsage, "unknown method '{}'; possible: auto, predict, {}", printable(method),
         fmt::join(method_names(), ", "));
  return sparsify_method(engine, ids, *named, options, progress);
}

}  // namespace hunch
