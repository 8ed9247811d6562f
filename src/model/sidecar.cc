#include "model/sidecar.h"

#include <algorithm>

#include "base/error.h"
#include "io/printable.h"
#include "model/fingerprint.h"
#include "model/plan.h"
#include "select/selectors.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

std::string describe(const std::string& name, const std::string& arch, size_t n_layer, size_t n_embd, size_t n_ff) {
  return fmt::format("'{}' ({}, {} layers, width {}, MLP {})", printable(name.empty() ? "unnamed" : name),
                     printable(arch), n_layer, n_embd, n_ff);
}

}  // namespace

Plan Sidecar::plan(const ModelConfig& config, double density) const {
  Plan plan = Plan::exact(config);
  plan.name = "sparse";
  plan.lazy_keys = lazy_keys;
  plan.set_screen(screen);
  plan.owners = owners;
  std::vector<size_t> points;
  for (const SidecarLayer& l : layers) points.push_back(l.point);
  if (density != 0) {
    if (!(density > 0 && density <= 1))
      fail(ErrorKind::kUsage, "density is {}, expected more than 0 and at most 1", density);
    std::vector<DensityCurve> curves;
    for (const SidecarLayer& l : layers) curves.push_back(l.learned() ? l.curve : DensityCurve(1));
    points = choose_points(curves, density);
  }
  const auto predict = [&](size_t layer, Point point, const auto& predictor, float threshold, Look look) {
    plan.set(layer, point, {std::make_shared<const Predicted>(*predictor, threshold), look});
    plan.owners.push_back(predictor);
  };
  for (size_t i = 0; i < layers.size(); ++i) {
    const SidecarLayer& l = layers[i];
    if (const SidecarHeads& heads = l.heads; heads.groups)
      predict(i, Point::kHeads, heads.groups, heads.curve[heads.point].threshold, heads.input);
    if (!l.learned()) continue;
    const CurvePoint& point = l.curve[points[i]];
    if (l.neurons && by_share) {
      if (point.density < 1)
        plan.set(i, Point::kNeurons, {std::make_shared<const PredictedShare>(*l.neurons, point.density), l.input});
      plan.owners.push_back(l.neurons);
    } else if (l.neurons) {
      predict(i, Point::kNeurons, l.neurons, point.threshold, l.input);
    }
    if (l.family && point.density < 1) l.family->set(plan, i, point, points[i]);  // at density 1 the layer is dense
  }
  if (!path.empty()) plan.source = PlanSource{path, density};
  return plan;
}

const SelectorFamily* Sidecar::family() const {
  for (const SidecarLayer& l : layers)
    if (l.family) return l.family.get();
  return nullptr;
}

fs::path sidecar_path(const fs::path& model) {
  fs::path path = model.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a folder named with a slash at the end
  if (path == "." || path.filename() == "..") path = fs::absolute(path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  path += ".hunch";
  return path;
}

fs::path find_sidecar(const fs::path& model) {
  const fs::path beside = sidecar_path(model);
  std::error_code ec;
  if (fs::exists(beside, ec)) return beside;
  const fs::path real = fs::canonical(model, ec);
  if (ec) return beside;
  const fs::path there = sidecar_path(real);
  return fs::exists(there, ec) ? there : beside;
}

namespace {

void check_layer(const SidecarLayer& l, const LayerConfig& c) {
  if (l.heads.groups && (l.heads.groups->n_out() != c.n_kv_head || !can_choose_heads(c)))
    fail(ErrorKind::kFormat,
         "the sidecar chooses among {} groups of heads in layer {}, the model has {}{}; make one with `hunch sparsify`",
         l.heads.groups->n_out(), c.index, c.n_kv_head, can_choose_heads(c) ? "" : " that are normalised together");
  const size_t n_expert = c.has_experts() ? c.moe.n_expert : 0, n_ff = n_expert ? c.moe.n_ff : c.n_ff;
  const auto mlps = [](size_t n) { return n ? fmt::format("{} experts", n) : std::string("one MLP"); };
  if (l.neurons && (l.neurons->n_experts() != n_expert || c.moe.beside_mlp))
    fail(ErrorKind::kFormat,
         "the sidecar predicts the neurons of {} in layer {}, which has {}{}; make it anew with `hunch sparsify`",
         mlps(l.neurons->n_experts()), c.index, mlps(n_expert), c.moe.beside_mlp ? " beside an MLP" : "");
  if (l.neurons && n_expert && l.input != Look::kHere)
    fail(
        ErrorKind::kFormat,
        "the sidecar predicts the neurons of experts in layer {} before attention, when nobody is routed yet; expected "
        "a predictor of the input 'mlp'",
        c.index);
  if (l.neurons && c.gate_cutoff > -INFINITY)
    fail(
        ErrorKind::kFormat,
        "the sidecar predicts neurons in layer {}, where all of them say which count: their zeros are left out exactly",
        c.index);
  if (l.neurons && l.neurons->n_out() != n_ff)
    fail(ErrorKind::kFormat, "the sidecar predicts {} neurons in layer {}, the model has {}", l.neurons->n_out(),
         c.index, n_ff);
}

void check_screen(const Sidecar& sidecar, const ModelConfig& c) {
  const VocabScreen* screen = sidecar.screen.get();
  const size_t n_in = c.n_embd_word ? c.n_embd_word : c.n_embd;
  if (screen && (screen->n_vocab() != c.n_vocab || screen->n_in() != n_in))
    fail(ErrorKind::kFormat, "the sidecar's screen is of {} tokens and width {}, the model has {} and {}",
         screen->n_vocab(), screen->n_in(), c.n_vocab, n_in);
}

}  // namespace

bool check_sidecar(const Sidecar& sidecar, const ModelFile& model, const ModelConfig& c) {
  const SidecarBase& b = sidecar.base;
  const bool same_shape = b.n_layer == c.n_layer && b.n_embd == c.n_embd && b.n_ff == c.n_ff;
  const bool same = same_shape && b.fingerprint == tensor_fingerprint(model);
  if (same || (same_shape && !b.vectors.empty() && b.vectors == vector_fingerprint(model))) {
    for (size_t l = 0; l < c.n_layer; ++l) check_layer(sidecar.layers[l], c.layers[l]);
    check_screen(sidecar, c);
    return same;
  }
  fail(ErrorKind::kFormat, "the sidecar was made for {}, this model is {}{}; make one with `hunch sparsify`",
       describe(b.name, b.arch, b.n_layer, b.n_embd, b.n_ff), describe(c.name, c.arch, c.n_layer, c.n_embd, c.n_ff),
       same_shape ? ", of the same shape but with other weights" : "");
}

}  // namespace hunch
