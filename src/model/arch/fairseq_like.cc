#include "model/arch/fairseq_like.h"

#include "base/error.h"

namespace hunch {

void import_fairseq_layers(HfImport& hf, size_t n_layer) {
  for (size_t layer = 0; layer < n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    hf.move(from + "self_attn_layer_norm", to + "attn_norm");
    hf.move(from + "self_attn.q_proj", to + "attn_q");
    hf.move(from + "self_attn.k_proj", to + "attn_k");
    hf.move(from + "self_attn.v_proj", to + "attn_v");
    hf.move(from + "self_attn.out_proj", to + "attn_output");
    hf.move(from + "final_layer_norm", to + "ffn_norm");
    hf.move(from + "fc1", to + "ffn_up");
    hf.move(from + "fc2", to + "ffn_down");
  }
}

}  // namespace hunch
