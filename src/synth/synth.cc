#include "synth/synth.h"

#include <fmt/format.h>

#include "synth/outliers.h"
#include "synth/vocab.h"
#include "synth/weights.h"
#include "synth/write_tensors.h"

namespace hunch {
namespace fs = std::filesystem;
namespace {

const char* activation_name(Activation activation) {
  switch (activation) {
    case Activation::kRelu: return "relu";
    case Activation::kReluSquared: return "relu2";
    case Activation::kSilu: return "silu";
    case Activation::kGeluErf: return "gelu";
    case Activation::kGeluTanh: return "gelu_new";
    case Activation::kGeluQuick: return "quick_gelu";
  }
  return "";
}

void hybrid_metadata(const SynthShape& s, Metadata& meta) {
  const SynthHybrid& h = s.hybrid;
  const auto set = [&](const char* key, auto value) { meta.set(s.arch + "." + key, value); };
  const auto set_count = [&](const char* key, size_t value) { set(key, uint32_t(value)); };
  std::vector<uint32_t> n_kv_heads, widths;
  for (const char block : h.blocks) {
    n_kv_heads.push_back(block == '*' ? uint32_t(s.n_kv_head) : 0);
    widths.push_back(block == 'E' ? uint32_t(s.n_ff) : 0);
  }
  set("attention.head_count_kv", MetaArray(n_kv_heads));
  set("feed_forward_length", MetaArray(widths));
  set("attention.layer_norm_rms_epsilon", 1e-5f);
  set("attention.layer_norm_epsilon", 1e-5f);  // llama.cpp wants both
  set_count("rope.dimension_count", s.d_head() / 2 * 2);
  set_count("expert_group_count", 1);
  set_count("expert_group_used_count", 1);
  set_count("expert_shared_count", 1);
  set_count("attention.key_length", s.d_head());
  set_count("attention.value_length", s.d_head());
  set_count("ssm.conv_kernel", h.n_taps);
  set_count("ssm.state_size", h.d_state);
  set_count("ssm.group_count", h.n_group);
  set_count("ssm.inner_size", h.width());
  set_count("ssm.time_step_rank", h.n_state_head);
  set_count("expert_count", h.n_expert);
  set_count("expert_used_count", h.n_expert_used);
  set_count("expert_feed_forward_length", s.n_ff);
  set_count("expert_shared_feed_forward_length", h.n_ff_shared);
  set_count("expert_gating_func", 2);
  set("expert_weights_norm", true);
}

Metadata metadata(const SynthOptions& options) {
  const SynthShape& s = options.shape;
  Metadata meta;
  const auto set_count = [&](const char* key, size_t value) { meta.set(s.arch + "." + key, uint32_t(value)); };
  meta.set("general.architecture", s.arch);
  meta.set("general.name", fmt::format("synth {} (random weights, seed {})", s.name, options.seed));
  meta.set("general.file_type", info(options.dtype).file_type);
  meta.set("general.quantization_version", uint32_t(2));
  set_count("block_count", s.n_layer);
  set_count("context_length", s.n_ctx);
  set_count("embedding_length", s.n_embd);
  if (!s.is_hybrid()) {
    set_count("feed_forward_length", s.n_ff);
    set_count("attention.head_count_kv", s.n_kv_head);
  }
  set_count("attention.head_count", s.n_head);
  set_count("vocab_size", s.n_vocab);
  if (s.is_hybrid()) {
    hybrid_metadata(s, meta);
  } else if (s.arch == "llama") {
    meta.set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    meta.set("llama.rope.freq_base", 10000.0f);
    set_count("rope.dimension_count", s.d_head());
    if (s.is_mixture()) {
      set_count("expert_count", s.hybrid.n_expert);
      set_count("expert_used_count", s.hybrid.n_expert_used);
    }
  } else {
    meta.set(s.arch + ".attention.layer_norm_epsilon", 1e-5f);
  }
  const Activation usual = s.gated() ? Activation::kSilu : s.is_hybrid() ? Activation::kReluSquared : Activation::kRelu;
  if (s.activation != usual) meta.set(s.arch + ".activation", std::string(activation_name(s.activation)));
  if (options.n_outliers > 0) meta.set("hunch.synth.outliers", uint32_t(options.n_outliers));
  if (!options.planting.density.empty()) {  // for whoever reads the file; hunch does not
    const SynthPlanting& p = options.planting;
    meta.set("hunch.synth.density", MetaArray(std::vector<float>(p.density.begin(), p.density.end())));
    meta.set("hunch.synth.head_density", float(p.head_density));
    meta.set("hunch.synth.contexts", uint32_t(p.n_contexts));
    meta.set("hunch.synth.next_token_margin", float(p.next_token_margin));
    meta.set("hunch.synth.seed", options.seed);
  }
  write_tokenizer_to_gguf(synth_tokenizer(s.n_vocab), meta);
  return meta;
}

}  // namespace

SynthReport write_synth(const fs::path& output, const SynthOptions& options, Compute& compute,
                        const Progress& progress) {
  validate(options.shape);
  std::vector<SynthTensor> tensors = synth_tensors(options);
  plant_outliers(options, tensors);
  return write_tensors(output, metadata(options), tensors, options.dtype, compute, progress);
}

}  // namespace hunch
