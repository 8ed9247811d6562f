// BitNet b1.58 (Ma et al. 2024, arXiv:2402.17764): ternary matrices with one scale each, inputs rounded to int8, norms
// before o and down; the published 2B model has a gated squared ReLU (exact zeros).
#include "base/error.h"
#include "model/arch/llama_like.h"

namespace hunch {
namespace {

// llama.cpp's files, of the first BitNets, are plain numbers with SiLU and products of unrounded inputs.
ModelConfig bitnet_config(const ModelFile& file) {
  ModelConfig c = base_config_from_gguf(file, Activation::kSilu);
  c.norm = NormKind::kRms;
  c.gated = true;
  c.position = PositionKind::kRope;
  c.sub_norms = true;
  const uint64_t bits = file.meta.get_uint("bitnet.input_bits", 0);
  if (bits != 0 && bits != 8)
    fail(ErrorKind::kUnsupported, "'bitnet.input_bits' is {}, expected 8, or 0 for inputs that are not rounded", bits);
  c.round_inputs = bits == 8;
  return c;
}

// What a matrix is multiplied by. The published code divides by weight_scale in BitLinear and multiplies in
// AutoBitLinear.
void import_scale(HfImport& hf, const std::string& from, const std::string& to, bool divides) {
  const Tensor t = hf.take(from + ".weight_scale");
  if (t.n_elems() != 1 || !info(t.dtype).is_float())
    fail(ErrorKind::kFormat, "tensor '{}' is {} of shape [{}], expected one number", t.name, name_of(t.dtype),
         fmt::join(t.shape, ", "));
  float scale;
  codec(t.dtype).decode(t.data.data(), &scale, 1);
  if (divides) scale = 1 / scale;
  hf.put(to + ".scale", hf.from_floats({&scale, 1}, {1}));
}

void import_bitnet(HfImport& hf) {
  const LlamaLikeSizes sizes = import_llama_like_config(hf, "silu");
  const std::string form = hf.config_string({"quantization_config.linear_class"}, "bitlinear");
  if (form != "bitlinear" && form != "autobitlinear")
    fail(ErrorKind::kUnsupported, "config.json: linear_class is '{}'; known: bitlinear, autobitlinear", form);
  if (hf.config_bool({"quantization_config.use_rms_norm"}, false))
    fail(ErrorKind::kUnsupported, "config.json: matrices with a norm of their own (use_rms_norm) are not supported");
  for (const char* key : {"quant_method", "quantization_mode"})  // which io/quantised_config.h reads
    hf.ignore_config(std::string("quantization_config.") + key);
  hf.set_uint("input_bits", 8);
  import_llama_like_ends(hf, {.tied_by_default = true});
  for (size_t layer = 0; layer < sizes.n_layer; ++layer) {
    const std::string from = fmt::format("layers.{}.", layer), to = fmt::format("blk.{}.", layer);
    import_llama_like_attention(hf, layer, sizes, {});
    hf.move(from + "self_attn.attn_sub_norm", to + "attn_sub_norm");
    hf.move(from + "post_attention_layernorm", to + "ffn_norm");
    import_llama_like_mlp(hf, layer);
    hf.move(from + "mlp.ffn_sub_norm", to + "ffn_sub_norm");
    const std::pair<const char*, const char*> matrices[] = {
        {"self_attn.q_proj", "attn_q"},      {"self_attn.k_proj", "attn_k"}, {"self_attn.v_proj", "attn_v"},
        {"self_attn.o_proj", "attn_output"}, {"mlp.gate_proj", "ffn_gate"},  {"mlp.up_proj", "ffn_up"},
        {"mlp.down_proj", "ffn_down"}};
    for (const auto& [hf_name, name] : matrices)
      if (hf.has(from + hf_name + ".weight_scale")) import_scale(hf, from + hf_name, to + name, form == "bitlinear");
  }
}

}  // namespace

const Architecture kArchBitNet = {"bitnet", "bitnet", true, bitnet_config, import_bitnet};

}  // namespace hunch
