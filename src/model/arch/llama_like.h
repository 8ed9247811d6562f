// What the many descendants of Llama share: the words of their config.json and their tensor names.
#pragma once
#include "model/architecture.h"

namespace hunch {

struct LlamaLikeSizes {
  size_t n_layer = 0, n_embd = 0, n_head = 0, n_kv_head = 0, d_head = 0, n_rot = 0, n_ctx = 0;
};

// Writes counts, norm epsilon, activation (where it is not `usual_activation`), RoPE and its scaling,
// reading HF's words for them; returns the counts. `windows_unless_said`: whether a sliding_window counts without
// use_sliding_window.
LlamaLikeSizes import_llama_like_config(HfImport& hf, std::string_view usual_activation,
                                        bool windows_unless_said = true);

struct LlamaLikeTensors {
  bool interleave_qk = false;    // Q and K rows in the order of interleaved RoPE, as GGUF wants for some
  bool norm_plus_one = false;    // norms are stored as w, meant as 1 + w
  bool tied_by_default = false;  // tie_word_embeddings where the config is silent
};

// Embedding, final norm and head.
void import_llama_like_ends(HfImport& hf, const LlamaLikeTensors& options);
// Norms and attention of one layer: input_layernorm, self_attn.{q,k,v,o}_proj, post_attention_layernorm.
void import_llama_like_attention(HfImport& hf, size_t layer, const LlamaLikeSizes& sizes,
                                 const LlamaLikeTensors& options);
// mlp.{gate,up,down}_proj of one layer (gate where there is one).
void import_llama_like_mlp(HfImport& hf, size_t layer);
// One norm, "<from>.weight" and bias, with 1 added if the options say so.
void import_norm(HfImport& hf, const std::string& from, const std::string& to, const LlamaLikeTensors& options);
// A mixture's experts, "<prefix>.<e>.<hf_name>.weight" for e in [0, n_expert), as one tensor.
void import_experts(HfImport& hf, const std::string& prefix, std::string_view hf_name, size_t n_expert,
                    const std::string& to);

}  // namespace hunch
