#include "model/bundles.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "io/gguf.h"
#include "io/naming.h"
#include "model/fingerprint.h"

namespace hunch {
namespace {

constexpr const char* kArchitecture = "hunch-bundles";
constexpr const char* kModel = "hunch.bundles.model";

std::string bundle_name(uint32_t layer) { return fmt::format("blk.{}.ffn_bundle", layer); }

// The matrices of a layer's MLP, all of which have a row for each neuron; fewer than two where it has none, or one of
// them lies otherwise.
std::vector<const Tensor*> by_neuron(const ModelFile& model, uint32_t layer) {
  std::vector<const Tensor*> parts;
  for (const char* name : {"ffn_gate", "ffn_up", "ffn_down_t"})
    if (const Tensor* t = model.find(fmt::format("blk.{}.{}.weight", layer, name))) parts.push_back(t);
  const auto fits = [&](const Tensor* t) {
    return t->shape.size() == 2 && t->rows() == parts[0]->rows() && info(t->dtype).computes();
  };
  if (!std::ranges::all_of(parts, fits) || !model.find(fmt::format("blk.{}.ffn_down_t.weight", layer)) ||
      !model.find(fmt::format("blk.{}.ffn_up.weight", layer)))
    parts.clear();
  return parts;
}

}  // namespace

const Tensor* Bundles::of(uint32_t layer) const { return file.find(bundle_name(layer)); }

std::filesystem::path bundles_path(const std::filesystem::path& model) { return model.string() + ".bundles"; }

Bundles open_bundles(const std::filesystem::path& path, const ModelFile& model) {
  Bundles bundles{path, open_gguf(path)};
  naming(path, [&] {
    if (bundles.file.meta.get_string("general.architecture", "") != kArchitecture)
      fail(ErrorKind::kFormat, "this is no file of bundles; `hunch convert MODEL --layout bundles` writes one");
    if (bundles.file.meta.get_string(kModel) != tensor_fingerprint(model))
      fail(ErrorKind::kFormat, "these are bundles of another model; write them anew");
    for (const Tensor& t : bundles.file.tensors)
      if (t.shape.size() != 2 || t.dtype != DType::kI8)
        fail(ErrorKind::kFormat, "tensor '{}': expected bytes of neurons, found {} in {} dimensions", t.name,
             name_of(t.dtype), t.shape.size());
    return 0;
  });
  return bundles;
}

BundlesReport write_bundles(const std::filesystem::path& path, const ModelFile& model, const Progress& progress,
                            const Stop* stop) {
  const auto n_layer = uint32_t(model.meta.get_uint(model.meta.get_string("general.architecture") + ".block_count"));
  BundlesReport report;
  std::vector<TensorToWrite> tensors;
  Scratch memory;
  for (uint32_t layer = 0; layer < n_layer; ++layer) {
    const std::vector<const Tensor*> parts = by_neuron(model, layer);
    if (parts.empty()) continue;
    const size_t n = parts[0]->rows();
    size_t n_row = 0;
    for (const Tensor* t : parts) n_row += row_bytes(t->dtype, t->cols());
    tensors.push_back({bundle_name(layer), DType::kI8, {n, n_row}, [parts, n, n_row, &memory] {
                         const std::span<std::byte> out = memory.get<std::byte>(n * n_row);
                         std::byte* to = out.data();
                         for (size_t i = 0; i < n; ++i)
                           for (const Tensor* t : parts) {
                             const size_t bytes = row_bytes(t->dtype, t->cols());
                             std::memcpy(to, t->data.data() + i * bytes, bytes);
                             to += bytes;
                           }
                         return std::span<const std::byte>(out);
                       }});
    report.n_bytes += n * n_row;
  }
  report.n_layers = tensors.size();
  if (tensors.empty())
    fail(ErrorKind::kUnsupported,
         "no MLP of this model has its down projection by neuron, so that its neurons cannot be bundled: convert it "
         "with "
         "--layout neuron first (of models whose neurons are never exactly zero there is nothing to leave out)");
  Metadata meta;
  meta.set("general.architecture", std::string(kArchitecture));
  meta.set("general.name", "neurons of " + model.meta.get_string("general.name", "a model"));
  meta.set("general.alignment", uint32_t(4096));
  meta.set(kModel, tensor_fingerprint(model));
  write_gguf(path, meta, tensors, progress, stop);
  return report;
}

}  // namespace hunch
