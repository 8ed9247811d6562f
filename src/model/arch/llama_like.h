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
// Norm and attention of one layer: input_layernorm, self_attn.{q,k,v,o}_proj, .{q,k}_norm; norms where there are any.
void import_llama_like_attention(HfImport& hf, size_t layer, const LlamaLikeSizes& sizes,
                                 const LlamaLikeTensors& options);
// Whether there is any of "<prefix>.{gate,up,down}_proj": of an adapter, perhaps only one.
bool has_mlp(const HfImport& hf, const std::string& prefix);
// mlp.{gate,up,down}_proj of one layer (gate where there is one).
void import_llama_like_mlp(HfImport& hf, size_t layer);
// All of a model that is a Llama but for its numbers: config, ends, and layers whose MLP has the norm
// post_attention_layernorm, written as `ffn_norm`. Returns the counts.
LlamaLikeSizes import_llama_like(HfImport& hf, std::string_view usual_activation, const LlamaLikeTensors& options,
                                 const char* ffn_norm = "ffn_norm");
// The halves of a matrix whose rows are gates and then ups; of each expert, where there are several, [n_expert, 2 n,
// cols].
void import_halves(HfImport& hf, const std::string& from, size_t n, const std::string& gate, const std::string& up);
// The norms of branches' outputs (OLMo 2): post_attention_layernorm and post_feedforward_layernorm.
void import_branch_norms(HfImport& hf, size_t layer, const LlamaLikeTensors& options);
// A model with no other norms in its layers.
void import_branch_normed(HfImport& hf);
// One norm, "<from>.weight" and bias, with 1 added if the options say so.
void import_norm(HfImport& hf, const std::string& from, const std::string& to, const LlamaLikeTensors& options);
// The numbers of a mixture; no shared expert where n_ff_shared is 0.
void import_moe_counts(HfImport& hf, size_t n_expert, size_t n_used, size_t n_ff, size_t n_ff_shared = 0);
// "<prefix>.<e>.{gate,up,down}_proj" of all experts as blk's tensors ("<to>ffn_gate_exps", ...), and a shared one's.
void import_gated_experts(HfImport& hf, const std::string& prefix, size_t n_expert, const std::string& to);
void import_shared_expert(HfImport& hf, const std::string& prefix, const std::string& to);
// The numbers of a mixture in DeepSeek's words (n_routed_experts, n_group, routed_scaling_factor, ...), and the layers
// behind the last, which guess further tokens, are left out. Returns the number of experts.
size_t import_sigmoid_router_config(HfImport& hf);
// The MLP of one of its layers: dense, or a router with a bias, its experts, and perhaps a shared one.
void import_deepseek_mlp(HfImport& hf, size_t layer, size_t n_expert);
// A mixture's experts, "<prefix>.<e>.<hf_name>.weight" for e in [0, n_expert), as one tensor.
void import_experts(HfImport& hf, const std::string& prefix, std::string_view hf_name, size_t n_expert,
                    const std::string& to);

}  // namespace hunch
