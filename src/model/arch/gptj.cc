// GPT-J (Wang & Komatsuzaki 2021) and CodeGen (Nijkamp et al. 2022): attention and MLP in parallel
// behind one norm, rotary positions on neighbouring pairs of a part of each head, a head with a bias.
// CodeGen's q, v and k come fused, in four partitions of its training's tensor parallelism.
// llama.cpp names GPT-J and its tensors but does not run it.
#include "base/error.h"
#include "model/architecture.h"

namespace hunch {
namespace {

constexpr size_t kCodeGenPartitions = 4;

ModelConfig gptj_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kGeluTanh);
  c.position = PositionKind::kRope;
  c.rope.interleaved = true;
  c.parallel_residual = true;
  return c;
}

// Each partition holds (q, v, k) of its heads.
void split_fused(HfImport& hf, const std::string& from, const std::string& to, size_t n_embd) {
  const Tensor fused = hf.take(from + "attn.qkv_proj.weight");
  if (n_embd % kCodeGenPartitions != 0 || fused.rows() != 3 * n_embd)
    fail(ErrorKind::kFormat,
         "tensor '{}' has {} rows for {} embedding values, expected three times as many, in {} partitions", fused.name,
         fused.rows(), n_embd, kCodeGenPartitions);
  const size_t part = n_embd / kCodeGenPartitions;
  for (const auto& [name, place] : {std::pair{"attn_q", 0}, {"attn_v", 1}, {"attn_k", 2}}) {
    std::vector<Tensor> parts;
    for (size_t p = 0; p < kCodeGenPartitions; ++p)
      parts.push_back(hf.rows(fused, (3 * p + size_t(place)) * part, part));
    hf.put(fmt::format("{}{}.weight", to, name), hf.concatenated(parts));
  }
}

void import_gptj(HfImport& hf) {
  const size_t n_layer = hf.config_uint({"n_layer", "num_hidden_layers"}),
               n_embd = hf.config_uint({"n_embd", "hidden_size"});
  const size_t n_head = hf.config_uint({"n_head", "num_attention_heads"});
  hf.set_uint("block_count", n_layer);
  hf.set_uint("context_length", hf.config_uint({"n_positions", "max_position_embeddings"}, 2048));
  hf.set_uint("embedding_length", n_embd);
  hf.set_uint("feed_forward_length", hf.config_uint({"n_inner"}, 4 * n_embd));
  hf.set_uint("attention.head_count", n_head);
  hf.set_uint("rope.dimension_count", hf.config_uint({"rotary_dim"}, 64));
  hf.set_float("attention.layer_norm_epsilon", hf.config_float({"layer_norm_epsilon"}, 1e-5));
  import_activation(hf, hf.config_string({"activation_function"}, "gelu_new"), "gelu_new");

  hf.choose_prefix({"transformer.", ""}, "wte.weight");
  hf.move("wte", "token_embd");
  hf.move("ln_f", "output_norm");
  import_output(hf, "lm_head", false);
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("h.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "ln_1", to + "attn_norm");
    if (hf.has(from + "attn.qkv_proj.weight")) {
      split_fused(hf, from, to, n_embd);
      hf.ignore(from + "attn.causal_mask");
    } else {
      hf.move(from + "attn.q_proj", to + "attn_q");
      hf.move(from + "attn.k_proj", to + "attn_k");
      hf.move(from + "attn.v_proj", to + "attn_v");
    }
    hf.move(from + "attn.out_proj", to + "attn_output");
    hf.move(from + "mlp.fc_in", to + "ffn_up");
    hf.move(from + "mlp.fc_out", to + "ffn_down");
  }
}

}  // namespace

const Architecture kArchGptJ = {"gptj", "gptj,codegen", false, gptj_config, import_gptj};

}  // namespace hunch
