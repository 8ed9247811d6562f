#include "model/sidecar.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "io/printable.h"
#include "kernels/sign_bits.h"
#include "model/fingerprint.h"
#include "model/plan.h"
#include "select/hot_set.h"
#include "select/linear.h"
#include "select/low_rank.h"
#include "select/selectors.h"
#include "select/sign_predictor.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxLayers = 4096, kMaxWidth = size_t{1} << 24;

class Parser {
 public:
  explicit Parser(const ModelFile& file) : file_(file) {}

  Sidecar parse() {
    if (const std::string arch = file_.meta.get_string("general.architecture", ""); arch != "hunch-sidecar")
      fail(ErrorKind::kFormat, "not a sidecar: general.architecture is '{}', expected 'hunch-sidecar'",
           printable(arch));
    if (const uint64_t version = file_.meta.get_uint("hunch.version"); version != kSidecarVersion)
      fail(ErrorKind::kUnsupported,
           "the sidecar has version {}, this hunch reads {}; make it anew with `hunch sparsify`", version,
           kSidecarVersion);
    SidecarBase& base = sidecar_.base;
    base.sha256 = file_.meta.get_string("hunch.base.sha256");
    base.fingerprint = file_.meta.get_string("hunch.base.fingerprint");
    base.arch = file_.meta.get_string("hunch.base.architecture");
    base.name = file_.meta.get_string("hunch.base.name", "");
    base.n_layer = size("hunch.base.n_layer", kMaxLayers);
    base.n_embd = size("hunch.base.n_embd", kMaxWidth);
    base.n_ff = size("hunch.base.n_ff", kMaxWidth);
    quality();
    const auto kinds = strings("hunch.mlp.kind"), inputs = strings("hunch.mlp.input");
    const std::vector<int64_t> points = file_.meta.get_ints("hunch.mlp.point");
    if (points.size() != base.n_layer) fail_length("hunch.mlp.point", points.size());
    sidecar_.layers.resize(base.n_layer);
    for (size_t i = 0; i < base.n_layer; ++i) layer(i, kinds[i], inputs[i], points[i]);
    heads();
    screen();
    return std::move(sidecar_);
  }

 private:
  size_t size(const char* key, size_t most) {
    const uint64_t n = file_.meta.get_uint(key);
    if (n == 0 || n > most) fail(ErrorKind::kFormat, "'{}' is {}, expected 1 to {}", key, n, most);
    return n;
  }
  [[noreturn]] void fail_length(const char* key, size_t n) {
    fail(ErrorKind::kFormat, "'{}' has {} values, expected one for each of {} layers", key, n, sidecar_.base.n_layer);
  }
  std::vector<std::string> strings(const char* key) {
    std::vector<std::string> values = file_.meta.get_strings(key);
    if (values.size() != sidecar_.base.n_layer) fail_length(key, values.size());
    return values;
  }

  void quality() {
    const Metadata& m = file_.meta;
    SidecarQuality& q = sidecar_.quality;
    q.budget = m.get_float("hunch.quality.budget", 0);
    q.perplexity_dense = m.get_float("hunch.quality.perplexity_dense", 0);
    q.perplexity_sparse = m.get_float("hunch.quality.perplexity_sparse", 0);
    q.kl = m.get_float("hunch.quality.kl", 0);
    q.top1 = m.get_float("hunch.quality.top1", 0);
    q.n_tokens = m.get_uint("hunch.quality.n_tokens", 0);
  }

  // A tensor of this shape whose type computes. `rows` or `cols` 0: any number of them, at least 1.
  const Tensor& tensor(const std::string& name, size_t rows, size_t cols) {
    const Tensor& t = file_.get(name);
    if (t.shape.size() != 2 || t.shape[0] == 0 || t.shape[1] == 0 || (rows && t.shape[0] != rows) ||
        (cols && t.shape[1] != cols))
      fail(ErrorKind::kFormat, "tensor '{}': expected shape [{}, {}], the file has [{}]", name,
           rows ? std::to_string(rows) : "any", cols ? std::to_string(cols) : "any", fmt::join(t.shape, ", "));
    if (!info(t.dtype).computes())
      fail(ErrorKind::kFormat, "tensor '{}' is {}, which hunch does not compute with", name, name_of(t.dtype));
    return t;
  }

  // [n_ff, sign_words(n_embd)] words of signs.
  const uint64_t* sign_planes(const std::string& name) {
    const Tensor& t = file_.get(name);
    const std::vector<uint64_t> want = {sidecar_.base.n_ff, sign_words(sidecar_.base.n_embd)};
    if (t.dtype != DType::kI64 || t.shape != want)
      fail(ErrorKind::kFormat, "tensor '{}': expected i64 [{}], the file has {} [{}]", name, fmt::join(want, ", "),
           name_of(t.dtype), fmt::join(t.shape, ", "));
    return reinterpret_cast<const uint64_t*>(t.data.data());
  }

  void screen() {
    if (!file_.find("screen_in.weight")) return;
    const Tensor& in = tensor("screen_in.weight", 0, 0);
    const Tensor& out = tensor("screen_out.weight", 0, in.rows());
    ScreenWeights w{in.view(), out.view(), floats("screen.outside", out.rows()), floats("screen.inside", out.rows()),
                    0};
    w.margin = float(file_.meta.get_float("hunch.screen.margin", -1));
    if (!(w.margin >= 0 && std::isfinite(w.margin)))
      fail(ErrorKind::kFormat, "'hunch.screen.margin' is {}, expected 0 or more", w.margin);
    sidecar_.screen = std::make_shared<VocabScreen>(std::move(w));
  }

  std::vector<float> floats(const std::string& name, size_t n) {
    const Tensor& t = file_.get(name);
    if (t.dtype != DType::kF32 || t.n_elems() != n)
      fail(ErrorKind::kFormat, "tensor '{}': expected {} values of f32, the file has {} of {}", name, n, t.n_elems(),
           name_of(t.dtype));
    std::vector<float> values(n);
    codec(t.dtype).decode(t.data.data(), values.data(), n);
    for (float v : values)
      if (std::isnan(v)) fail(ErrorKind::kFormat, "tensor '{}' holds a value that is not a number", name);
    return values;
  }

  void layer(size_t i, const std::string& kind, const std::string& input, int64_t point) {
    SidecarLayer& l = sidecar_.layers[i];
    if (kind == "none") return;
    const SidecarBase& b = sidecar_.base;
    const std::string blk = fmt::format("blk.{}.", i);
    if (kind == "lowrank" || kind == "lowrank_relu") {
      const Tensor& in = tensor(blk + "predictor_in.weight", 0, b.n_embd);
      const Tensor& out = tensor(blk + "predictor_out.weight", b.n_ff, in.rows());
      l.neurons = std::make_shared<LowRankPredictor>(
          LowRankWeights{in.view(), out.view(), floats(blk + "predictor.bias", b.n_ff), kind == "lowrank_relu"});
    } else if (kind == "signs") {
      l.neurons = std::make_shared<SignPredictor>(SignWeights{sign_planes(blk + "predictor_signs"), b.n_ff, b.n_embd,
                                                              floats(blk + "predictor.slope", b.n_ff),
                                                              floats(blk + "predictor.bias", b.n_ff)});
    } else if (kind == "hot") {
      l.neurons = std::make_shared<HotSetPredictor>(floats(blk + "predictor.bias", b.n_ff), b.n_embd);
    } else if (const auto method = method_named(kind)) {
      l.method = *method;
    } else {
      fail(ErrorKind::kFormat, "layer {}: unknown predictor '{}'", i, printable(kind));
    }
    if (input != "mlp" && input != "attention")
      fail(ErrorKind::kFormat, "layer {}: unknown predictor input '{}', expected mlp or attention", i,
           printable(input));
    l.input = input == "mlp" ? Look::kHere : Look::kAttention;
    l.curve = curve(blk + "curve", i, point);
    if (l.method == Method::kTeal) {
      const std::vector<float> thresholds = floats(blk + "inputs", l.curve.size() * kNInputParts);
      l.inputs.resize(l.curve.size());
      for (size_t p = 0; p < l.curve.size(); ++p)
        std::copy_n(&thresholds[p * kNInputParts], kNInputParts, l.inputs[p].begin());
    }
    l.point = size_t(point);
  }

  DensityCurve curve(const std::string& name, size_t layer, int64_t point) {
    const size_t n_points = tensor(name, 0, 4).rows();
    const std::vector<float> values = floats(name, n_points * 4);
    DensityCurve curve;
    for (size_t p = 0; p < n_points; ++p)
      curve.push_back({values[p * 4], values[p * 4 + 1], values[p * 4 + 2], values[p * 4 + 3]});
    for (size_t p = 1; p < n_points; ++p)
      if (!(curve[p].density < curve[p - 1].density))
        fail(ErrorKind::kFormat, "tensor '{}': densities must fall from row to row", name);
    if (point < 0 || uint64_t(point) >= n_points)
      fail(ErrorKind::kFormat, "layer {}: point {} of a curve of {} points", layer, point, n_points);
    return curve;
  }

  // Sidecars without these keys compute every head.
  void heads() {
    if (!file_.meta.has("hunch.heads.kind")) return;
    const SidecarBase& b = sidecar_.base;
    const size_t n_group = size("hunch.heads.n_group", kMaxWidth);
    const std::string keys = file_.meta.get_string("hunch.heads.keys", "write");
    if (keys != "write" && keys != "lazy")
      fail(ErrorKind::kFormat, "'hunch.heads.keys' is '{}', expected write or lazy", printable(keys));
    sidecar_.lazy_keys = keys == "lazy";
    const auto kinds = strings("hunch.heads.kind"), inputs = strings("hunch.heads.input");
    const std::vector<int64_t> points = file_.meta.get_ints("hunch.heads.point");
    if (points.size() != b.n_layer) fail_length("hunch.heads.point", points.size());
    for (size_t i = 0; i < b.n_layer; ++i) {
      if (kinds[i] == "none") continue;
      SidecarHeads& heads = sidecar_.layers[i].heads;
      const std::string blk = fmt::format("blk.{}.", i);
      if (kinds[i] == "linear") {
        const Tensor& W = tensor(blk + "head_predictor.weight", n_group, b.n_embd);
        heads.groups = std::make_shared<LinearPredictor>(W.view(), floats(blk + "head_predictor.bias", n_group));
      } else if (kinds[i] == "hot") {
        heads.groups = std::make_shared<HotSetPredictor>(floats(blk + "head_predictor.bias", n_group), b.n_embd);
      } else {
        fail(ErrorKind::kFormat, "layer {}: unknown head predictor '{}'", i, printable(kinds[i]));
      }
      if (inputs[i] != "attention" && (inputs[i] != "previous_attention" || i == 0))
        fail(ErrorKind::kFormat, "layer {}: unknown input '{}' of a head predictor, expected attention{}", i,
             printable(inputs[i]), i ? " or previous_attention" : "");
      heads.input = inputs[i] == "attention" ? Look::kHere : Look::kPreviousAttention;
      heads.curve = curve(blk + "head_curve", i, points[i]);
      heads.point = size_t(points[i]);
    }
  }

  const ModelFile& file_;
  Sidecar sidecar_;
};

std::string describe(const std::string& name, const std::string& arch, size_t n_layer, size_t n_embd, size_t n_ff) {
  return fmt::format("'{}' ({}, {} layers, width {}, MLP {})", printable(name.empty() ? "unnamed" : name),
                     printable(arch), n_layer, n_embd, n_ff);
}

}  // namespace

Plan Sidecar::plan(const ModelConfig& config, double density) const {
  Plan plan = Plan::exact(config);
  plan.name = "sparse";
  plan.lazy_keys = lazy_keys;
  plan.screen = screen;
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
    if (l.neurons) predict(i, Point::kNeurons, l.neurons, point.threshold, l.input);
    if (l.method == Method::kNone || point.density >= 1) continue;  // at density 1 a method is the dense layer
    MethodPoint set{l.method, point.threshold, std::clamp(point.density, 0.0f, 1.0f)};
    if (l.method == Method::kTeal) set.inputs = l.inputs[points[i]];
    set.set(plan, i);
  }
  return plan;
}

Method Sidecar::method() const {
  for (const SidecarLayer& l : layers)
    if (l.method != Method::kNone) return l.method;
  return Method::kNone;
}

fs::path sidecar_path(const fs::path& model) {
  fs::path path = model.lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a folder named with a slash at the end
  if (path == "." || path.filename() == "..") path = fs::absolute(path).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  path += ".hunch";
  return path;
}

Sidecar parse_sidecar(ModelFile file) {
  Sidecar sidecar = Parser(file).parse();
  sidecar.owners = std::move(file.owners);
  return sidecar;
}

Sidecar open_sidecar(const fs::path& path) {
  try {
    return parse_sidecar(open_gguf(path));
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kFormat && e.kind() != ErrorKind::kNotFound && e.kind() != ErrorKind::kUnsupported)
      throw;
    const std::string what = e.what();
    fail(e.kind(), "{}{}", what.find(path.string()) == what.npos ? fmt::format("'{}': ", path.string()) : "", what);
  }
}

namespace {

void check_heads(const Sidecar& sidecar, const ModelConfig& c) {
  for (const SidecarLayer& l : sidecar.layers)
    if (l.heads.groups && (l.heads.groups->n_ff() != c.n_kv_head || !can_choose_heads(c)))
      fail(ErrorKind::kFormat,
           "the sidecar chooses among {} groups of heads, the model has {}{}; make one with `hunch sparsify`",
           l.heads.groups->n_ff(), c.n_kv_head, can_choose_heads(c) ? "" : " that are normalised together");
}

void check_neurons(const Sidecar& sidecar, const ModelConfig& c) {
  for (size_t l = 0; l < c.n_layer; ++l)
    if (sidecar.layers[l].neurons && c.has_experts(l))
      fail(ErrorKind::kFormat,
           "the sidecar predicts the neurons of one MLP in layer {}, which has experts; make it anew with `hunch "
           "sparsify`",
           l);
}

void check_screen(const Sidecar& sidecar, const ModelConfig& c) {
  const VocabScreen* screen = sidecar.screen.get();
  const size_t n_in = c.n_embd_word ? c.n_embd_word : c.n_embd;
  if (screen && (screen->n_vocab() != c.n_vocab || screen->n_in() != n_in))
    fail(ErrorKind::kFormat, "the sidecar's screen is of {} tokens and width {}, the model has {} and {}",
         screen->n_vocab(), screen->n_in(), c.n_vocab, n_in);
}

}  // namespace

void check_sidecar(const Sidecar& sidecar, const ModelFile& model, const ModelConfig& c) {
  const SidecarBase& b = sidecar.base;
  if (b.n_layer == c.n_layer && b.n_embd == c.n_embd && b.n_ff == c.n_ff &&
      b.fingerprint == tensor_fingerprint(model)) {
    check_neurons(sidecar, c);
    check_heads(sidecar, c);
    return check_screen(sidecar, c);
  }
  fail(ErrorKind::kFormat, "the sidecar was made for {}, this model is {}{}; make one with `hunch sparsify`",
       describe(b.name, b.arch, b.n_layer, b.n_embd, b.n_ff), describe(c.name, c.arch, c.n_layer, c.n_embd, c.n_ff),
       b.n_layer == c.n_layer && b.n_embd == c.n_embd && b.n_ff == c.n_ff ? ", of the same shape but with other weights"
                                                                          : "");
}

}  // namespace hunch
