#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "io/gguf.h"
#include "model/sidecar.h"

namespace hunch {
namespace {

// What a file will hold, in its order; names begin with the prefix that was last said.
class TensorList : public ArchiveWriter {
 public:
  explicit TensorList(Metadata& meta) : meta_(meta) {}
  TensorList& at(std::string prefix) {
    prefix_ = std::move(prefix);
    return *this;
  }

  void matrix(std::string_view name, const WeightView& view) override {
    std::vector<std::byte> bytes;
    const size_t n = row_bytes(view.dtype, view.cols);
    for (size_t r = 0; r < view.rows; ++r) bytes.insert(bytes.end(), view.row(r), view.row(r) + n);
    add(name, view.dtype, {view.rows, view.cols}, std::move(bytes));
  }
  void floats(std::string_view name, std::span<const float> values) override { floats(name, values, {values.size()}); }
  void floats(std::string_view name, std::span<const float> values, std::vector<uint64_t> shape) {
    std::vector<std::byte> bytes(values.size_bytes());
    std::memcpy(bytes.data(), values.data(), bytes.size());
    add(name, DType::kF32, std::move(shape), std::move(bytes));
  }
  void words(std::string_view name, const uint64_t* words, size_t rows, size_t cols) override {
    std::vector<std::byte> bytes(rows * cols * sizeof(uint64_t));
    std::memcpy(bytes.data(), words, bytes.size());
    add(name, DType::kI64, {rows, cols}, std::move(bytes));
  }
  void number(std::string_view name, double value) override {
    meta_.set(fmt::format("hunch.{}{}", prefix_, name), value);
  }
  const std::vector<TensorToWrite>& list() const { return tensors_; }

 private:
  void add(std::string_view name, DType dtype, std::vector<uint64_t> shape, std::vector<std::byte> bytes) {
    auto data = std::make_shared<std::vector<std::byte>>(std::move(bytes));
    tensors_.push_back(
        {prefix_ + std::string(name), dtype, std::move(shape), [data] { return std::span<const std::byte>(*data); }});
  }
  Metadata& meta_;
  std::string prefix_;
  std::vector<TensorToWrite> tensors_;
};

std::string kind_of(const SidecarLayer& l) {
  return std::string(l.neurons ? l.neurons->stored_kind() : l.family ? l.family->kind() : "none");
}

std::vector<float> flat(const DensityCurve& curve) {
  std::vector<float> values;
  for (const CurvePoint& p : curve) values.insert(values.end(), {p.threshold, p.density, p.loss, p.recall});
  return values;
}

void add_curve(const DensityCurve& curve, std::string_view name, TensorList& tensors) {
  tensors.floats(name, flat(curve), {curve.size(), 4});
}

void add_heads(const std::string& blk, const SidecarHeads& heads, TensorList& tensors) {
  if (!heads.groups) return;
  heads.groups->save(tensors.at(blk + "head_predictor"));
  add_curve(heads.curve, "head_curve", tensors.at(blk));
}

// All layers' heads; nothing where every layer computes all of them, so that older readers miss nothing.
void add_heads(const Sidecar& sidecar, Metadata& meta, TensorList& tensors) {
  std::vector<std::string> kinds, inputs;
  std::vector<uint32_t> points;
  std::vector<uint32_t> widths;
  size_t n_groups = 0;
  for (size_t i = 0; i < sidecar.layers.size(); ++i) {
    const SidecarHeads& heads = sidecar.layers[i].heads;
    kinds.push_back(heads.groups ? std::string(heads.groups->stored_kind()) : "none");
    inputs.push_back(heads.input == Look::kHere ? "attention" : "previous_attention");
    points.push_back(uint32_t(heads.point));
    widths.push_back(uint32_t(heads.groups ? heads.groups->n_out() : 0));
    n_groups = std::max(n_groups, size_t(widths.back()));
    add_heads(fmt::format("blk.{}.", i), heads, tensors);
  }
  if (n_groups == 0) return;
  meta.set("hunch.heads.n_group", uint64_t{n_groups});
  if (std::ranges::any_of(widths, [&](size_t n) { return n != 0 && n != n_groups; }))
    meta.set("hunch.heads.n_groups", MetaArray(widths));
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
  if (!b.vectors.empty()) meta.set("hunch.base.vectors", b.vectors);
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
  if (!q.ids.empty()) meta.set("hunch.quality.ids", MetaArray(std::vector<uint32_t>(q.ids.begin(), q.ids.end())));
  std::vector<std::string> kinds, inputs;
  std::vector<uint32_t> points;
  TensorList tensors(meta);
  for (size_t i = 0; i < b.n_layer; ++i) {
    const SidecarLayer& l = sidecar.layers[i];
    kinds.push_back(kind_of(l));
    inputs.push_back(l.input == Look::kHere ? "mlp" : "attention");
    points.push_back(uint32_t(l.point));
    const std::string blk = fmt::format("blk.{}.", i);
    if (!l.frequency.empty()) tensors.at(blk).floats("frequency", l.frequency);
    if (!l.learned()) continue;
    if (l.neurons) l.neurons->save(tensors.at(blk + "predictor"));
    tensors.at(blk);
    if (l.family) l.family->save(tensors);
    add_curve(l.curve, "curve", tensors);
  }
  std::vector<uint32_t> widths;
  for (const SidecarLayer& l : sidecar.layers) {
    const size_t n_known = l.frequency.empty() ? b.n_ff : l.frequency.size();
    widths.push_back(uint32_t(l.neurons ? l.neurons->n_out() : n_known));
  }
  if (std::ranges::any_of(widths, [&](size_t n) { return n != b.n_ff; })) meta.set("hunch.mlp.n_ff", MetaArray(widths));
  meta.set("hunch.mlp.kind", MetaArray(kinds));
  meta.set("hunch.mlp.input", MetaArray(inputs));
  meta.set("hunch.mlp.point", MetaArray(points));
  add_heads(sidecar, meta, tensors);
  if (sidecar.prompts) {
    std::vector<std::string> names;  // of a layer's heads, one after the other
    for (const std::vector<PromptPattern>& heads : sidecar.prompts->heads()) {
      std::string& all = names.emplace_back();
      for (const PromptPattern& p : heads) all += (all.empty() ? "" : ";") + name_of(p);
    }
    HUNCH_CHECK(names.size() == b.n_layer, "patterns of {} layers", names.size());
    meta.set("hunch.prefill.patterns", MetaArray(names));
    if (!sidecar.prompts->neurons().empty()) meta.set("hunch.prefill.neurons", MetaArray(sidecar.prompts->neurons()));
  }
  if (sidecar.screen) sidecar.screen->save(tensors.at("screen"));
  for (const std::string& key : more.keys()) meta.set(key, *more.find(key));
  write_gguf(path, meta, tensors.list());
}

}  // namespace hunch
