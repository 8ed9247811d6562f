// The architectures that hunch runs. Each is one file in model/arch/ that maps its GGUF keys to
// capabilities and its Hugging Face names to GGUF names; adding one is adding a file and a row here.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/model_file.h"
#include "model/config.h"
#include "model/hf_import.h"

namespace hunch {

struct Architecture {
  const char* gguf_name;  // general.architecture
  // config.json's model_type, a comma-separated list where several share the mapping.
  const char* hf_model_types;
  bool known_to_llama_cpp;
  // GGUF metadata and tensors -> capabilities, as most layers have them. Throws Error{kNotFound | kFormat} naming the
  // key.
  ModelConfig (*config_from_gguf)(const ModelFile& file);
  // HF config and tensors -> GGUF metadata and tensors, as `hunch convert` writes them.
  void (*import_hf)(HfImport& hf);
  // What folders of the same model_type are whose config has "n_routed_experts"; none: the same.
  const Architecture* with_experts = nullptr;
};

std::span<const Architecture* const> architectures();
// Throw Error{kUnsupported} naming the architecture and those that hunch knows.
const Architecture& architecture_by_gguf_name(std::string_view name);
const Architecture& architecture_by_hf_type(std::string_view model_type);

// The config of a file, of whatever architecture, with its layers: GGUF's lists (head counts and MLP widths by layer)
// say where these differ. Throws Error{kNotFound | kFormat | kUnsupported}.
ModelConfig config_from_gguf(const ModelFile& file);

// Reads the keys that all architectures share ("<arch>.block_count", ".embedding_length",
// ".attention.head_count", ".attention.head_count_kv", ".attention.key_length",
// ".feed_forward_length", ".context_length", norm epsilons, rope keys) into a config; the
// architecture's own file sets the capabilities that have no key. The MLP's function is `usual` unless
// "<arch>.activation" (hunch's key) or "<arch>.hidden_activation" (llama.cpp's) names another.
ModelConfig base_config_from_gguf(const ModelFile& file, Activation usual);

// The mixer of each layer, by the tensor that only such a layer has ("blk.<i>.<name>"); kNone where it has none of
// them.
struct MixerMark {
  const char* tensor;
  Mixer mixer;
};
void mixers_by_tensors(const ModelFile& file, ModelConfig& config, std::initializer_list<MixerMark> marks);
// "<arch>.ssm.*": of Mamba-2 and the gated delta net.
void read_state_sizes(const ModelFile& file, ModelConfig& config);

// Layers with a window get a rope of their own: unscaled, of this base.
void rotate_windowed_layers(ModelConfig& config, double base);
// Windows of a file that does not say which layers have them: of `period` layers all but the last, or all but the
// first.
enum class WindowPattern { kLastIsFull, kFirstIsFull };
void default_windows(const ModelFile& file, ModelConfig& config, size_t period,
                     WindowPattern pattern = WindowPattern::kLastIsFull);
// Layers without a window do not rotate (unless the file says which do).
void rotate_only_windowed_layers(const ModelFile& file, ModelConfig& config);

// The function of this name, in HF's words ("relu", "gelu_new", ...). Throws Error{kUnsupported}.
Activation activation_from_name(std::string_view name);

// arch/*.cc
extern const Architecture kArchOpt, kArchLlama, kArchGpt2, kArchGptNeo, kArchStarcoder, kArchGptNeoX, kArchGptJ,
    kArchBloom, kArchMpt, kArchFalcon;
extern const Architecture kArchQwen2, kArchQwen3, kArchQwen2Moe, kArchPhi2, kArchPhi3, kArchGemma, kArchGemma2,
    kArchStableLm, kArchNemotron, kArchStarCoder2, kArchCohere, kArchOlmo, kArchXglm;
extern const Architecture kArchQwen3Moe, kArchOlmo2, kArchSmolLm3, kArchGranite, kArchGemma3, kArchCohere2, kArchGlm4,
    kArchSeedOss, kArchExaone4, kArchArcee, kArchMistral3, kArchErnie45;
extern const Architecture kArchGraniteMoe, kArchErnie45Moe, kArchPhiMoe, kArchGlm4Moe, kArchSmallThinker, kArchGptOss,
    kArchDeepSeek2;
extern const Architecture kArchLfm2, kArchLfm2Moe, kArchNemotronH, kArchNemotronHMoe, kArchQwen3Next, kArchQwen35,
    kArchQwen35Moe;
extern const Architecture kArchBert, kArchNomicBert, kArchModernBert;
extern const Architecture kArchBitNet, kArchGemma3n, kArchGemma4, kArchTransfoXl;

}  // namespace hunch
