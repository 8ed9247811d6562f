#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "formats/format.h"
#include "io/gguf.h"
#include "io/printable.h"
#include "model/families.h"
#include "model/sidecar.h"
#include "select/predictors.h"

namespace hunch {
namespace {

constexpr size_t kMaxLayers = 4096, kMaxWidth = size_t{1} << 24;

// The tensors of a file whose names begin alike.
class Tensors : public ArchiveReader {
 public:
  Tensors(const ModelFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  WeightView matrix(std::string_view name, size_t rows, size_t cols) const override {
    const Tensor& t = get(name);
    if (t.shape.size() != 2 || t.shape[0] == 0 || t.shape[1] == 0 || (rows && t.shape[0] != rows) ||
        (cols && t.shape[1] != cols))
      fail(ErrorKind::kFormat, "tensor '{}': expected shape [{}, {}], the file has [{}]", t.name,
           rows ? std::to_string(rows) : "any", cols ? std::to_string(cols) : "any", fmt::join(t.shape, ", "));
    if (!info(t.dtype).computes())
      fail(ErrorKind::kFormat, "tensor '{}' is {}, which hunch does not compute with", t.name, name_of(t.dtype));
    return t.view();
  }
  const uint64_t* words(std::string_view name, size_t rows, size_t cols) const override {
    const Tensor& t = get(name);
    const std::vector<uint64_t> want = {rows, cols};
    if (t.dtype != DType::kI64 || t.shape != want)
      fail(ErrorKind::kFormat, "tensor '{}': expected i64 [{}], the file has {} [{}]", t.name, fmt::join(want, ", "),
           name_of(t.dtype), fmt::join(t.shape, ", "));
    return reinterpret_cast<const uint64_t*>(t.data.data());
  }
  std::vector<float> floats(std::string_view name, size_t n) const override {
    const Tensor& t = get(name);
    if (t.dtype != DType::kF32 || t.n_elems() != n)
      fail(ErrorKind::kFormat, "tensor '{}': expected {} values of f32, the file has {} of {}", t.name, n, t.n_elems(),
           name_of(t.dtype));
    std::vector<float> values(n);
    codec(t.dtype).decode(t.data.data(), values.data(), n);
    for (float v : values)
      if (std::isnan(v)) fail(ErrorKind::kFormat, "tensor '{}' holds a value that is not a number", t.name);
    return values;
  }
  double number(std::string_view name, double least) const override {
    const std::string key = fmt::format("hunch.{}{}", prefix_, name);
    const double value = file_.meta.get_float(key, NAN);
    if (!(value >= least && std::isfinite(float(value))))
      fail(ErrorKind::kFormat, "'{}' is {}, expected {} or more", key, value, least);
    return value;
  }

 private:
  const Tensor& get(std::string_view name) const { return file_.get(prefix_ + std::string(name)); }

  const ModelFile& file_;
  const std::string prefix_;
};

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
    base.vectors = file_.meta.get_string("hunch.base.vectors", "");
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
    const std::vector<size_t> widths = by_layer("hunch.mlp.n_ff", base.n_ff);
    for (size_t i = 0; i < base.n_layer; ++i) layer(i, kinds[i], inputs[i], points[i], widths[i]);
    heads();
    prompts();
    if (file_.find("screen_in.weight")) sidecar_.screen = VocabScreen::load(Tensors(file_, "screen"));
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
  // Of models whose layers differ; otherwise all are `usual`.
  std::vector<size_t> by_layer(const char* key, size_t usual) {
    if (!file_.meta.has(key)) return std::vector<size_t>(sidecar_.base.n_layer, usual);
    std::vector<size_t> values;
    for (const int64_t v : file_.meta.get_ints(key)) {
      if (v < 0 || uint64_t(v) > kMaxWidth)
        fail(ErrorKind::kFormat, "'{}' holds {}, expected 0 to {}", key, v, kMaxWidth);
      values.push_back(size_t(v));
    }
    if (values.size() != sidecar_.base.n_layer) fail_length(key, values.size());
    return values;
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
    if (!m.has("hunch.quality.ids")) return;
    for (const int64_t id : m.get_ints("hunch.quality.ids")) {
      if (id < 0 || id > INT32_MAX) fail(ErrorKind::kFormat, "'hunch.quality.ids' holds {}, which is no token", id);
      q.ids.push_back(int32_t(id));
    }
  }

  void layer(size_t i, const std::string& kind, const std::string& input, int64_t point, size_t n_ff) {
    SidecarLayer& l = sidecar_.layers[i];
    const SidecarBase& b = sidecar_.base;
    const std::string blk = fmt::format("blk.{}.", i);
    if (file_.find(blk + "frequency")) l.frequency = Tensors(file_, blk).floats("frequency", n_ff);
    for (const float f : l.frequency)
      if (!(f >= 0 && f <= 1))
        fail(ErrorKind::kFormat, "tensor '{}frequency' holds {}, expected shares of tokens", blk, f);
    if (kind == "none") return;
    l.neurons = load_predictor(kind, b.n_embd, n_ff, Tensors(file_, blk + "predictor"));
    if (input != "mlp" && input != "attention")
      fail(ErrorKind::kFormat, "layer {}: unknown predictor input '{}', expected mlp or attention", i,
           printable(input));
    l.input = input == "mlp" ? Look::kHere : Look::kAttention;
    l.curve = curve(blk + "curve", i, point);
    if (!l.neurons) l.family = load_family(kind, l.curve.size(), Tensors(file_, blk));
    if (!l.learned()) fail(ErrorKind::kFormat, "layer {}: unknown predictor '{}'", i, printable(kind));
    l.point = size_t(point);
  }

  DensityCurve curve(const std::string& name, size_t layer, int64_t point) {
    const Tensors tensors(file_, name);
    const size_t n_points = tensors.matrix("", 0, 4).rows;
    const std::vector<float> values = tensors.floats("", n_points * 4);
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

  // For each layer the patterns of its heads; without the key nobody asked for any.
  void prompts() {
    if (!file_.meta.has("hunch.prefill.patterns")) return;
    std::vector<std::vector<PromptPattern>> heads;
    for (const std::string& all : strings("hunch.prefill.patterns")) {
      std::vector<PromptPattern>& layer = heads.emplace_back();
      for (size_t begin = 0; !all.empty() && begin <= all.size();) {
        const size_t end = std::min(all.find(';', begin), all.size());
        try {
          layer.push_back(prompt_pattern_from(std::string_view(all).substr(begin, end - begin)));
        } catch (const Error& e) {
          fail(ErrorKind::kFormat, "'hunch.prefill.patterns', layer {}: {}", heads.size() - 1,
               printable(e.what(), 300));
        }
        begin = end + 1;
      }
    }
    const size_t n_layer = heads.size();
    auto prompts = std::make_shared<PromptPatterns>(std::move(heads));
    if (file_.meta.has("hunch.prefill.neurons")) {
      const std::vector<float> read = file_.meta.get_floats("hunch.prefill.neurons");
      std::vector<double> shares(read.begin(), read.end());
      if (shares.size() != n_layer || !std::ranges::all_of(shares, [](double s) { return s > 0 && s <= 1; }))
        fail(ErrorKind::kFormat, "'hunch.prefill.neurons': expected a share above 0 and up to 1 for each of {} layers",
             n_layer);
      prompts->set_neurons(std::move(shares));
    }
    sidecar_.prompts = std::move(prompts);
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
    const std::vector<size_t> widths = by_layer("hunch.heads.n_groups", n_group);
    for (size_t i = 0; i < b.n_layer; ++i) {
      if (kinds[i] == "none") continue;
      SidecarHeads& heads = sidecar_.layers[i].heads;
      const std::string blk = fmt::format("blk.{}.", i);
      heads.groups = load_predictor(kinds[i], b.n_embd, widths[i], Tensors(file_, blk + "head_predictor"));
      if (!heads.groups) fail(ErrorKind::kFormat, "layer {}: unknown head predictor '{}'", i, printable(kinds[i]));
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

}  // namespace

Sidecar parse_sidecar(ModelFile file) {
  Sidecar sidecar = Parser(file).parse();
  sidecar.owners = std::move(file.owners);
  return sidecar;
}

Sidecar open_sidecar(const std::filesystem::path& path) {
  try {
    Sidecar sidecar = parse_sidecar(open_gguf(path));
    sidecar.path = std::filesystem::absolute(path);
    return sidecar;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kFormat && e.kind() != ErrorKind::kNotFound && e.kind() != ErrorKind::kUnsupported)
      throw;
    const std::string what = e.what();
    fail(e.kind(), "{}{}", what.find(path.string()) == what.npos ? fmt::format("'{}': ", path.string()) : "", what);
  }
}

}  // namespace hunch
