#include "compress/fit_store.h"

#include <algorithm>

#include "base/error.h"
#include "base/sha256.h"
#include "io/gguf.h"
#include "model/fingerprint.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSuffix = ".fit";

// What the predictor's matrices point into lives as long as the predictor.
std::shared_ptr<const Predictor> keep(const std::shared_ptr<const Sidecar>& owner,
                                      const std::shared_ptr<const Predictor>& predictor) {
  return {owner, predictor.get()};
}

}  // namespace

fs::path FitStore::path_of(size_t layer) const { return folder_ / fmt::format("layer-{}{}", layer, kSuffix); }

std::optional<StoredFit> FitStore::load(size_t layer, const ModelConfig& config) const {
  std::error_code ec;
  if (!fs::exists(path_of(layer), ec)) return std::nullopt;
  try {
    ModelFile file = open_gguf(path_of(layer));
    const Metadata meta = file.meta;
    const auto sidecar = std::make_shared<const Sidecar>(parse_sidecar(std::move(file)));
    if (sidecar->base.sha256 != key_ || sidecar->base.n_embd != config.n_embd || sidecar->base.n_ff != config.n_ff)
      return std::nullopt;
    const std::vector<std::string>&names = meta.get_strings("hunch.fit.names"),
          &head_names = meta.get_strings("hunch.fit.head_names");
    if (names.size() != sidecar->layers.size() || head_names.size() != names.size()) return std::nullopt;
    StoredFit fit;
    LayerFit& n = fit.neurons;
    n.layer = layer;
    n.active = meta.get_float("hunch.fit.active");
    n.note = meta.get_string("hunch.fit.note");
    n.first_bytes = meta.get_float("hunch.fit.first_bytes");
    n.second_bytes = meta.get_float("hunch.fit.second_bytes");
    n.skips_second = meta.get_bool("hunch.fit.skips_second");
    n.n_mlps = meta.get_float("hunch.fit.n_mlps");
    n.frequency = sidecar->layers.at(0).frequency;
    fit.heads.selected_bytes = meta.get_float("hunch.fit.selected_bytes");
    fit.heads.always_bytes = meta.get_float("hunch.fit.always_bytes");
    for (size_t i = 0; i < names.size(); ++i) {
      const SidecarLayer& l = sidecar->layers[i];
      if (l.neurons) n.candidates.push_back({names[i], keep(sidecar, l.neurons), l.curve});
      if (l.heads.groups) fit.heads.candidates.push_back({head_names[i], keep(sidecar, l.heads.groups), l.heads.curve});
    }
    return fit;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void FitStore::save(size_t layer, const StoredFit& fit, const ModelConfig& config) const {
  const LayerFit& n = fit.neurons;
  Sidecar sidecar;
  sidecar.layers.resize(std::max<size_t>({n.candidates.size(), fit.heads.candidates.size(), 1}));
  sidecar.base = {key_, key_, config.arch, config.name, sidecar.layers.size(), config.n_embd, config.n_ff};
  std::vector<std::string> names(sidecar.layers.size()), head_names(sidecar.layers.size());
  for (size_t i = 0; i < n.candidates.size(); ++i) {
    names[i] = n.candidates[i].name;
    sidecar.layers[i].neurons = n.candidates[i].predictor;
    sidecar.layers[i].curve = n.candidates[i].curve;
  }
  for (size_t i = 0; i < fit.heads.candidates.size(); ++i) {
    head_names[i] = fit.heads.candidates[i].name;
    sidecar.layers[i].heads.groups = fit.heads.candidates[i].predictor;
    sidecar.layers[i].heads.curve = fit.heads.candidates[i].curve;
  }
  sidecar.layers[0].frequency = n.frequency;
  Metadata meta;
  meta.set("hunch.fit.names", MetaArray(names));
  meta.set("hunch.fit.head_names", MetaArray(head_names));
  meta.set("hunch.fit.active", n.active);
  meta.set("hunch.fit.note", n.note);
  meta.set("hunch.fit.first_bytes", n.first_bytes);
  meta.set("hunch.fit.second_bytes", n.second_bytes);
  meta.set("hunch.fit.skips_second", n.skips_second);
  meta.set("hunch.fit.n_mlps", n.n_mlps);
  meta.set("hunch.fit.selected_bytes", fit.heads.selected_bytes);
  meta.set("hunch.fit.always_bytes", fit.heads.always_bytes);
  std::error_code ec;
  fs::create_directories(folder_, ec);
  if (ec) fail(ErrorKind::kIo, "'{}': cannot make this folder for finished layers: {}", folder_.string(), ec.message());
  write_sidecar(path_of(layer), sidecar, meta);
}

void FitStore::clear(const fs::path& folder) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder, ec))
    if (const std::string name = entry.path().filename().string();
        name.starts_with("layer-") && name.ends_with(kSuffix))
      fs::remove(entry.path(), ec);
  fs::remove(folder, ec);  // fails where something else is left in it
}

std::string fit_key(const ModelFile& model, std::span<const int32_t> ids, size_t n_train, const SparsifyOptions& o) {
  Sha256 sha;
  sha.update(fmt::format("2 {} {} {} {} {} {} {} {} {}\n", tensor_fingerprint(model), ids.size(), n_train, o.predictor,
                         int(o.input), o.rank, o.n_epochs, int(o.heads), int(o.head_input)));
  sha.update(std::as_bytes(ids));
  return sha.finish_hex();
}

}  // namespace hunch
