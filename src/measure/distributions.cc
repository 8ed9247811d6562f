#include "measure/distributions.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/context.h"
#include "linear/values.h"

namespace hunch {
namespace {

constexpr double kOutlierTimes = 20;  // the median channel: Dettmers et al. 2022 (arXiv:2208.07339) find 20 and more

double middle_of(std::vector<float> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + ptrdiff_t(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return double(*middle);
}

// Keeps what the layers read. Values of a layer are many: a second pass fills the histograms, when their mean square is
// known.
class Inputs : public Observer {
 public:
  struct Seen {
    std::vector<float> largest;
    double squares = 0, fourths = 0;
    uint64_t n = 0, n_zeros = 0;
    size_t n_tokens = 0;
    std::vector<float> sample;  // rows
  };

  Inputs(const ModelConfig& c, size_t every) : layers(c.n_layer), every_(every) {}

  void on_attention_input(size_t layer, MatView<const float> x) override { see(layer, InputOf::kAttention, x); }
  void on_heads(size_t layer, MatView<const float> x) override { see(layer, InputOf::kHeads, x); }
  void on_mlp(const MlpPlace& place, MatView<const float> in, MatView<const float> act) override {
    if (!place.is_dense()) return;
    see(place.layer, InputOf::kMlp, in);
    see(place.layer, InputOf::kNeurons, act);
  }

  // From now on values are counted in units of what was seen.
  void count_into(std::vector<LayerDistributions>& out) { out_ = &out; }

  std::vector<std::array<Seen, kNumInputs>> layers;

 private:
  void see(size_t layer, InputOf which, MatView<const float> x) {
    Seen& seen = layers[layer][size_t(which)];
    if (out_) return count(seen, (*out_)[layer].inputs[size_t(which)].values, x);
    if (seen.largest.empty()) seen.largest.resize(x.cols);
    for (size_t t = 0; t < x.rows; ++t) {
      const std::span<const float> row = x.row(t);
      for (size_t i = 0; i < row.size(); ++i) {
        const double square = double(row[i]) * double(row[i]);
        seen.squares += square, seen.fourths += square * square;
        seen.n_zeros += row[i] == 0;
        seen.largest[i] = std::max(seen.largest[i], std::abs(row[i]));
      }
      seen.n += row.size();
      if (seen.n_tokens++ % every_ == 0) seen.sample.insert(seen.sample.end(), row.begin(), row.end());
    }
  }
  static void count(const Seen& seen, Magnitudes& out, MatView<const float> x);

  size_t every_;
  std::vector<LayerDistributions>* out_ = nullptr;
};

size_t bin_of(double in_rms) {
  const double at = (std::log2(in_rms) - Magnitudes::kLowest) * Magnitudes::kPerOctave;
  if (!(at >= 0)) return 0;  // and what is no number, which is named elsewhere
  return at >= double(Magnitudes::kBins) ? Magnitudes::kBins - 1 : size_t(at);
}

void Inputs::count(const Seen& seen, Magnitudes& out, MatView<const float> x) {
  const double rms = std::sqrt(seen.squares / double(std::max<uint64_t>(1, seen.n)));
  for (size_t t = 0; t < x.rows; ++t)
    for (const float v : x.row(t))
      if (v != 0) ++out.counts[bin_of(std::abs(double(v)) / rms)];
}

void run(const Engine& engine, std::span<const int32_t> ids, size_t n_ctx, Observer& observer, const char* what,
         const Progress& progress) {
  ContextOptions options;
  options.n_ctx = n_ctx;
  options.mode = "dense";
  Context context(engine, options);
  context.set_observer(&observer);
  for (size_t begin = 0; begin < ids.size(); begin += n_ctx) {
    context.truncate(0);
    context.append(ids.subspan(begin, std::min(n_ctx, ids.size() - begin)));
    if (progress) progress(what, std::min(begin + n_ctx, ids.size()), ids.size());
  }
  context.set_observer(nullptr);
}

std::vector<float> values_of(Compute& compute, const Linear& linear) {
  const Values values(compute, linear);
  std::vector<float> out(linear.n_out * linear.n_in);
  decode_rows(compute, values.rows(), {out.data(), linear.n_out, linear.n_in});
  if (!std::ranges::all_of(out, [](float v) { return std::isfinite(v); }))
    fail(ErrorKind::kFormat, "{} of layer {} has a weight that is not finite; is the file damaged?",
         name_of(linear.id.role), linear.id.layer);
  return out;
}

// ||W X|| and ||(W - W') X|| over rows X of the sample.
std::optional<double> output_error(Compute& compute, const Linear& original, std::vector<float> W,
                                   std::span<const float> changed, const std::vector<float>& sample) {
  const size_t n_in = original.n_in, n_out = original.n_out, n = sample.size() / n_in;
  if (n == 0) return std::nullopt;
  const MatView<const float> X(sample.data(), n, n_in);
  std::vector<float> Y(n * n_out);
  const auto norm = [&] {
    const MatmulTask task{weight_view(MatView<const float>(W.data(), n_out, n_in)), {}, {Y.data(), n, n_out}};
    matmul(compute, X, {&task, 1}, TokenBits::kAsAlone);  // in f32
    double sum = 0;
    for (const float y : Y) sum += double(y) * double(y);
    return std::sqrt(sum);
  };
  const double whole = norm();
  for (size_t i = 0; i < W.size(); ++i) W[i] -= changed[i];
  return whole > 0 ? norm() / whole : 0;
}

}  // namespace

double Magnitudes::begin_of(size_t bin) { return std::exp2(kLowest + double(bin) / kPerOctave); }

void Magnitudes::fill(std::span<const float> values) {
  double squares = 0, fourths = 0;
  for (const float v : values) {
    const double square = double(v) * double(v);
    squares += square, fourths += square * square;
    largest = std::max(largest, std::abs(double(v)));
    n_zeros += v == 0;
  }
  n = values.size();
  if (squares == 0) return;
  rms = std::sqrt(squares / double(n));
  kurtosis = fourths * double(n) / (squares * squares);
  for (const float v : values)
    if (v != 0) ++counts[bin_of(std::abs(double(v)) / rms)];
}

const char* name_of(InputOf input) {
  constexpr const char* kNames[kNumInputs] = {"attention's input", "heads", "the MLP's input", "neurons"};
  return kNames[size_t(input)];
}

std::optional<InputOf> input_of(const LinearId& id) {
  if (id.expert != LinearId::kNone) return std::nullopt;
  switch (id.role) {
    case Role::kQuery:
    case Role::kKey:
    case Role::kValue: return InputOf::kAttention;
    case Role::kHeads: return InputOf::kHeads;
    case Role::kGate:
    case Role::kUp: return InputOf::kMlp;
    case Role::kDown: return InputOf::kNeurons;
    default: return std::nullopt;
  }
}

double InputDistribution::peak() const {
  const double median = middle_of(largest);
  return median > 0 ? double(*std::ranges::max_element(largest)) / median : 0;
}

std::vector<uint32_t> InputDistribution::outliers() const {
  const double median = middle_of(largest);
  std::vector<uint32_t> out;
  for (uint32_t i = 0; median > 0 && i < largest.size(); ++i)
    if (double(largest[i]) >= kOutlierTimes * median) out.push_back(i);
  return out;
}

std::vector<LayerDistributions> distributions(const Engine& engine, const Engine* original,
                                              std::span<const int32_t> ids, const DistributionOptions& options,
                                              const Progress& progress) {
  const Engine& reads = original ? *original : engine;
  ids = ids.first(options.max_tokens ? std::min(options.max_tokens, ids.size()) : ids.size());
  if (ids.size() < 2) fail(ErrorKind::kUsage, "the text has {} tokens, expected at least 2", ids.size());
  if (original && original->config().n_layer != engine.config().n_layer)
    fail(ErrorKind::kUsage, "the original has {} layers, the model {}", original->config().n_layer,
         engine.config().n_layer);
  const size_t n_ctx = std::min(options.n_ctx ? options.n_ctx : 512, reads.config().n_ctx_train);
  Inputs inputs(reads.config(), std::max<size_t>(1, ids.size() / std::max<size_t>(1, options.error_tokens)));
  run(reads, ids, n_ctx, inputs, "reading", progress);
  std::vector<LayerDistributions> out(reads.config().n_layer);
  for (size_t l = 0; l < out.size(); ++l)
    for (size_t i = 0; i < kNumInputs; ++i) {
      const Inputs::Seen& seen = inputs.layers[l][i];
      InputDistribution& d = out[l].inputs[i];
      d.largest = seen.largest, d.n_tokens = seen.n_tokens;
      d.values.n = seen.n, d.values.n_zeros = seen.n_zeros;
      if (seen.squares == 0) continue;
      d.values.rms = std::sqrt(seen.squares / double(seen.n));
      d.values.kurtosis = seen.fourths * double(seen.n) / (seen.squares * seen.squares);
      d.values.largest = double(*std::ranges::max_element(seen.largest));
    }
  inputs.count_into(out);
  run(reads, ids, n_ctx, inputs, "counting", progress);

  Compute& compute = *engine.compute;
  for (size_t l = 0; l < out.size(); ++l) {
    compute.throw_if_stopped();
    if (progress) progress("weights", l + 1, out.size());
    std::map<LinearId, const Linear*> originals;
    if (original)
      std::as_const(*original->model).weights().layers[l].for_each_linear([&](const Linear& m) {
        originals[m.id] = &m;
      });
    std::map<Role, std::vector<float>> all;  // experts together
    std::as_const(*engine.model).weights().layers[l].for_each_linear([&](const Linear& m) {
      const std::vector<float> W = values_of(compute, m);
      if (original) {
        const auto found = originals.find(m.id);
        if (found == originals.end() || found->second->n_in != m.n_in || found->second->n_out != m.n_out)
          fail(ErrorKind::kUsage, "{} of layer {} has another shape in the original, or is not there",
               name_of(m.id.role), l);
        const std::vector<float> own = values_of(compute, *found->second);
        double missed = 0, whole = 0;
        for (size_t i = 0; i < W.size(); ++i) {
          missed += std::pow(double(own[i]) - double(W[i]), 2);
          whole += std::pow(double(own[i]), 2);
        }
        MatrixError error{whole > 0 ? std::sqrt(missed / whole) : 0, std::nullopt};
        if (const auto input = input_of(m.id))
          error.outputs = output_error(compute, *found->second, own, W, inputs.layers[l][size_t(*input)].sample);
        MatrixError& worst = out[l].errors[m.id.role];  // of experts the worst
        if (error.weights >= worst.weights) worst = error;
      }
      std::vector<float>& together = all[m.id.role];
      together.insert(together.end(), W.begin(), W.end());
    });
    for (const auto& [role, values] : all) out[l].weights[role].fill(values);
  }
  return out;
}

}  // namespace hunch
