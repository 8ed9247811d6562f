#include <cstring>
#include <optional>

#include "base/error.h"
#include "io/gguf.h"
#include "kernels/sign_bits.h"
#include "model/sidecar.h"
#include "select/hot_set.h"
#include "select/linear.h"
#include "select/low_rank.h"
#include "select/sign_predictor.h"

namespace hunch {
namespace {

// Tensors with their own bytes, in the order of the file.
class Tensors {
 public:
  void add(std::string name, const WeightView& view) {
    std::vector<std::byte> bytes;
    const size_t n = row_bytes(view.dtype, view.cols);
    for (size_t r = 0; r < view.rows; ++r) bytes.insert(bytes.end(), view.row(r), view.row(r) + n);
    add(std::move(name), view.dtype, {view.rows, view.cols}, std::move(bytes));
  }
  void add(std::string name, std::span<const float> values, std::vector<uint64_t> shape) {
    std::vector<std::byte> bytes(values.size_bytes());
    std::memcpy(bytes.data(), values.data(), bytes.size());
    add(std::move(name), DType::kF32, std::move(shape), std::move(bytes));
  }
  void add(std::string name, const uint64_t* words, size_t rows, size_t cols) {
    std::vector<std::byte> bytes(rows * cols * sizeof(uint64_t));
    std::memcpy(bytes.data(), words, bytes.size());
    add(std::move(name), DType::kI64, {rows, cols}, std::move(bytes));
  }
  const std::vector<TensorToWrite>& list() const { return tensors_; }

 private:
  void add(std::string name, DType dtype, std::vector<uint64_t> shape, std::vector<std::byte> bytes) {
    auto data = std::make_shared<std::vector<std::byte>>(std::move(bytes));
    tensors_.push_back(
        {std::move(name), dtype, std::move(shape), [data] { return std::span<const std::byte>(*data); }});
  }
  std::vector<TensorToWrite> tensors_;
};

std::string kind_of(const SidecarLayer& l) {
  if (!l.neurons) return std::string(name_of(l.method));
  const auto* low_rank = dynamic_cast<const LowRankPredictor*>(l.neurons.get());
  return low_rank && low_rank->weights().relu ? "lowrank_relu" : std::string(l.neurons->kind());
}

std::vector<float> flat(const DensityCurve& curve) {
  std::vector<float> values;
  for (const CurvePoint& p : curve) values.insert(values.end(), {p.threshold, p.density, p.loss, p.recall});
  return values;
}

void add_heads(const std::string& blk, const SidecarHeads& heads, Tensors& tensors) {
  if (!heads.groups) return;
  if (const auto* linear = dynamic_cast<const LinearPredictor*>(heads.groups.get())) {
    tensors.add(blk + "head_predictor.weight", linear->W());
    tensors.add(blk + "head_predictor.bias", linear->bias(), {linear->bias().size()});
  } else if (const auto* hot = dynamic_cast<const HotSetPredictor*>(heads.groups.get())) {
    tensors.add(blk + "head_predictor.bias", hot->scores(), {hot->scores().size()});
  } else {
    HUNCH_CHECK(false, "no format for a head predictor of kind {}", heads.groups->kind());
  }
  tensors.add(blk + "head_curve", flat(heads.curve), {heads.curve.size(), 4});
}

// All layers' heads; nothing where every layer computes all of them, so that older readers miss nothing.
void add_heads(const Sidecar& sidecar, Metadata& meta, Tensors& tensors) {
  std::vector<std::string> kinds, inputs;
  std::vector<uint32_t> points;
  size_t n_groups = 0;
  for (size_t i = 0; i < sidecar.layers.size(); ++i) {
    const SidecarHeads& heads = sidecar.layers[i].heads;
    kinds.push_back(heads.groups ? std::string(heads.groups->kind()) : "none");
    inputs.push_back(heads.input == Look::kHere ? "attention" : "previous_attention");
    points.push_back(uint32_t(heads.point));
    if (heads.groups) n_groups = heads.groups->n_ff();
    add_heads(fmt::format("blk.{}.", i), heads, tensors);
  }
  if (n_groups == 0) return;
  meta.set("hunch.heads.n_group", uint64_t{n_groups});
  meta.set("hunch.heads.keys", std::string(sidecar.lazy_keys ? "lazy" : "write"));
  meta.set("hunch.heads.kind", MetaArray(kinds));
  meta.set("hunch.heads.input", MetaArray(inputs));
  meta.set("hunch.heads.point", MetaArray(points));
}

}  // namespace

void write_sidecar(const std::filesystem::path& path, const Sidecar& sidecar, const Metadata& more) {
  const SidecarBase& b = sidecar.base;
  HUNCH_CHECK(sidecar.layers.size() == b.n_layer);
  Metadata meta;
  meta.set("general.architecture", std::string("hunch-sidecar"));
  if (!b.name.empty()) meta.set("general.name", b.name + " sidecar");
  meta.set("hunch.version", kSidecarVersion);
  meta.set("hunch.base.sha256", b.sha256);
  meta.set("hunch.base.fingerprint", b.fingerprint);
  meta.set("hunch.base.architecture", b.arch);
  meta.set("hunch.base.name", b.name);
  meta.set("hunch.base.n_layer", uint64_t{b.n_layer});
  meta.set("hunch.base.n_embd", uint64_t{b.n_embd});
  meta.set("hunch.base.n_ff", uint64_t{b.n_ff});
  const SidecarQuality& q = sidecar.quality;
  meta.set("hunch.quality.budget", q.budget);
  meta.set("hunch.quality.perplexity_dense", q.perplexity_dense);
  meta.set("hunch.quality.perplexity_sparse", q.perplexity_sparse);
  meta.set("hunch.quality.kl", q.kl);
  meta.set("hunch.quality.top1", q.top1);
  meta.set("hunch.quality.n_tokens", q.n_tokens);
  std::vector<std::string> kinds, inputs;
  std::vector<uint32_t> points;
  Tensors tensors;
  for (size_t i = 0; i < b.n_layer; ++i) {
    const SidecarLayer& l = sidecar.layers[i];
    kinds.push_back(kind_of(l));
    inputs.push_back(l.input == Look::kHere ? "mlp" : "attention");
    points.push_back(uint32_t(l.point));
    if (!l.learned()) continue;
    const std::string blk = fmt::format("blk.{}.", i);
    if (!l.neurons) {
      std::vector<float> thresholds;
      for (const auto& point : l.inputs) thresholds.insert(thresholds.end(), point.begin(), point.end());
      if (!thresholds.empty()) tensors.add(blk + "inputs", thresholds, {l.inputs.size(), kNInputParts});
    } else if (const auto* low_rank = dynamic_cast<const LowRankPredictor*>(l.neurons.get())) {
      tensors.add(blk + "predictor_in.weight", low_rank->weights().W_in);
      tensors.add(blk + "predictor_out.weight", low_rank->weights().W_out);
      tensors.add(blk + "predictor.bias", low_rank->weights().bias, {b.n_ff});
    } else if (const auto* hot = dynamic_cast<const HotSetPredictor*>(l.neurons.get())) {
      tensors.add(blk + "predictor.bias", hot->scores(), {b.n_ff});
    } else if (const auto* signs = dynamic_cast<const SignPredictor*>(l.neurons.get())) {
      const SignWeights& w = signs->weights();
      tensors.add(blk + "predictor_signs", w.planes, w.n_ff, sign_words(w.n_in));
      tensors.add(blk + "predictor.slope", w.slope, {b.n_ff});
      tensors.add(blk + "predictor.bias", w.bias, {b.n_ff});
    } else {
      HUNCH_CHECK(false, "no format for a predictor of kind {}", l.neurons->kind());
    }
    tensors.add(blk + "curve", flat(l.curve), {l.curve.size(), 4});
  }
  meta.set("hunch.mlp.kind", MetaArray(kinds));
  meta.set("hunch.mlp.input", MetaArray(inputs));
  meta.set("hunch.mlp.point", MetaArray(points));
  add_heads(sidecar, meta, tensors);
  if (sidecar.screen) {
    const ScreenWeights& w = sidecar.screen->weights();
    tensors.add("screen_in.weight", w.W_in);
    tensors.add("screen_out.weight", w.W_out);
    tensors.add("screen.outside", w.outside, {w.outside.size()});
    tensors.add("screen.inside", w.inside, {w.inside.size()});
    meta.set("hunch.screen.margin", double(w.margin));
  }
  for (const std::string& key : more.keys()) meta.set(key, *more.find(key));
  write_gguf(path, meta, tensors.list());
}

}  // namespace hunch
