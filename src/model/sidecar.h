// MODEL.hunch: what hunch learned about a model, in a GGUF file of its own beside it. The format is described
// in docs/sidecar.md.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/model_file.h"
#include "model/config.h"
#include "model/plan.h"
#include "model/selector_family.h"
#include "select/density_curve.h"
#include "select/predictor.h"

namespace hunch {

// The model that a sidecar belongs to.
struct SidecarBase {
  std::string sha256, fingerprint;  // tensor_sha256, tensor_fingerprint
  std::string arch, name;
  size_t n_layer = 0, n_embd = 0, n_ff = 0;
  std::string vectors = {};  // vector_fingerprint; "": of a sidecar that does not say
};

// Which heads of a layer's attention to compute.
struct SidecarHeads {
  std::shared_ptr<const Predictor> groups;  // scores the n_kv_head groups; none: every head is computed
  Look input = Look::kHere;
  DensityCurve curve;  // as a layer's
  size_t point = 0;
};

struct SidecarLayer {
  std::shared_ptr<const Predictor> neurons;  // none: computed as in exact mode
  Look input = Look::kHere;
  // What each setting gives, in order of falling density; not empty where there is a predictor or a family.
  DensityCurve curve;
  size_t point = 0;  // of the curve: where the calibration set it
  SidecarHeads heads{};
  std::shared_ptr<const SelectorFamily> family{};  // instead of a predictor
  std::vector<float> frequency{};  // [n_ff] how often each neuron is not zero on the calibration text; or not known
  bool learned() const { return neurons || family; }
};

class ModelParts;

// What calibration measured on text that it had not been fitted to.
struct SidecarQuality {
  double budget = 0;  // largest increase of perplexity asked for, as a share; 0: a density was asked for
  double perplexity_dense = 0, perplexity_sparse = 0, kl = 0, top1 = 0;
  uint64_t n_tokens = 0;
  std::vector<int32_t> ids = {};  // the first of them, by which the price can be measured again; may be empty
};

struct Sidecar {
  SidecarBase base;
  std::vector<SidecarLayer> layers;               // [n_layer]
  bool lazy_keys = false;                         // Plan::lazy_keys
  std::shared_ptr<const VocabScreen> screen;      // none: every logit is computed
  std::shared_ptr<const PromptPatterns> prompts;  // of `hunch sparsify --prefill`; none: it was not asked
  SidecarQuality quality;
  // Neurons are not those above a point's threshold, but of every token as many: the point's density of them.
  bool by_share = false;
  std::filesystem::path path = {};                  // of its file, absolute; "": it has none
  std::vector<std::shared_ptr<const void>> owners;  // of what the predictors' matrices point into

  // The plan of the calibration or, with a density above 0, of the point on every layer's curve that costs
  // least at this mean density over all layers (one without a predictor or a family counts as its exact density 1).
  // Heads stay where calibration set them. Throws Error{kUsage} for a density outside (0, 1].
  Plan plan(const ModelConfig& config, double density = 0) const;
  // What it says of the neurons and heads that are a rank's, who computes no others; of the vocabulary, nothing: all of
  // it is computed. Throws Error{kUnsupported} naming what says nothing of parts.
  Sidecar part(const ModelParts& parts) const;
  // Of the first of its layers that has one; nullptr: predictors, or nothing.
  const SelectorFamily* family() const;
};

constexpr uint64_t kSidecarVersion = 1;

// The name of MODEL's sidecar: MODEL.hunch, beside it.
std::filesystem::path sidecar_path(const std::filesystem::path& model);
// Where that is: beside the name that was given or, where there is none and the name is a link, beside what it leads
// to. The first of the two where there is neither.
std::filesystem::path find_sidecar(const std::filesystem::path& model);

// From a parsed GGUF file, whose owners move into it. Throws Error{kFormat} naming the key or tensor that is
// missing, of a wrong shape or out of range; Error{kUnsupported} for another version.
Sidecar parse_sidecar(ModelFile file);
Sidecar open_sidecar(const std::filesystem::path& path);

// Whether the sidecar was made for these very weights (true), or for the same ones in another type (false: a sidecar of
// the f16 model serves its quantisations, at a price that is theirs). Throws Error{kFormat}, naming both models, where
// it was made for neither. Compares shapes and fingerprints: milliseconds.
bool check_sidecar(const Sidecar& sidecar, const ModelFile& model, const ModelConfig& config);

// Writes atomically. `more`: further keys, which readers of a sidecar do not look at.
void write_sidecar(const std::filesystem::path& path, const Sidecar& sidecar, const Metadata& more = {});

}  // namespace hunch
