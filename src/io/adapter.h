// Adapters (LoRA, rsLoRA, DoRA, IA3, prompt and prefix tuning), from a PEFT folder or a GGUF file, in one form. Read,
// not yet bound to a model (model/bind_adapter.h). Sources: Hu et al. 2021 (arXiv:2106.09685), Kalajdzievski 2023
// (rsLoRA, arXiv:2312.03732), Liu et al. 2024 (DoRA, arXiv:2402.09353), Liu et al. 2022 (IA3, arXiv:2205.05638);
// formats: Hugging Face PEFT, llama.cpp's convert_lora_to_gguf.py.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "base/view.h"
#include "io/model_file.h"

namespace hunch {

// What is added to one weight matrix W [n_out, n_in]: W + scale * B * A, and then, where there is a magnitude m (DoRA),
// row i becomes m[i] / ||row i|| times itself.
//
// Weights are [out, in] here, as everywhere in hunch, whichever way the base model's file stores them (GPT-2's is
// transposed: fan_in_fan_out). An embedding is a matrix [n_vocab, n_embd] like any other: a token's row of B times A.
struct AdapterMatrix {
  // The base model's tensor, under HF's name or under GGUF's, as the file had it: "model.layers.0.mlp.up_proj.weight",
  // "blk.0.ffn_up.weight".
  std::string tensor;
  size_t rank = 0, n_in = 0, n_out = 0;  // all at least 1
  std::vector<float> A;                  // [rank, n_in]
  std::vector<float> B;                  // [n_out, rank]
  float scale = 1;                       // alpha / rank, or alpha / sqrt(rank) for rsLoRA
  std::vector<float> magnitude;          // [n_out], or empty

  MatView<const float> view_A() const { return {A.data(), rank, n_in}; }
  MatView<const float> view_B() const { return {B.data(), n_out, rank}; }
};

// What a matrix of the base model is multiplied by (IA3): each output, bias and all, or each input.
struct ScaledMatrix {
  std::string tensor;
  bool inputs = false;
  std::vector<float> factors;  // [n_out] or [n_in]
};

// A tensor of the base model that the adapter brings whole (modules_to_save, or an embedding that was extended): it
// takes the base's place before the matrices are added. Shape and orientation are the base file's.
struct ReplacedTensor {
  std::string tensor;
  std::vector<uint64_t> shape;
  std::vector<float> values;
};

// Tokens that stand before every text and are no words of the vocabulary: their embeddings (prompt tuning: Lester et
// al. 2021, arXiv:2104.08691), or their keys and values in every layer (prefix tuning: Li and Liang 2021,
// arXiv:2101.00190).
struct VirtualTokens {
  size_t n = 0;               // 0: none
  bool has_keys = false;      // prefix tuning's
  std::vector<float> values;  // [n, n_embd], or [n, n_layer, keys and values, n_kv_head * d_head]

  size_t width() const { return n == 0 ? 0 : values.size() / n; }
  MatView<const float> view() const { return {values.data(), n, width()}; }
};

struct AdapterFile {
  std::string name;                     // of the folder or file, or what the GGUF's general.name says
  std::string architecture;             // GGUF's name of the base's, whose tensor names these are; empty: HF's names
  std::vector<AdapterMatrix> matrices;  // by tensor name; no name twice
  std::vector<ReplacedTensor> replaced;
  std::vector<ScaledMatrix> scaled;  // of IA3, which has nothing else
  VirtualTokens virtual_tokens;      // of prompt and prefix tuning, which have nothing else
};

// Opens a PEFT folder (adapter_config.json with adapter_model.safetensors or adapter_model.bin) or a GGUF file. Values
// are copied to f32. Messages name the file. Throws what the parsers below throw, Error{kNotFound}, and
// Error{kInterrupted} when `stop` asks for it.
AdapterFile open_adapter(const std::filesystem::path& path, const Stop* stop = nullptr);

// Puts a PEFT adapter together. `config_json` is the text of adapter_config.json; `tensors` carry PEFT's names, with or
// without "base_model.model." in front.
//
// Throws Error{kUnsupported}, naming it, for whatever would change the computation and is not understood: other methods
// (P-tuning, ...), trained biases, initialisations that change the base model (PiSSA, OLoRA, ...), DoRA on an
// embedding, convolutions, unknown options that are set, unknown tensors; Error{kFormat} for a config that is not one,
// for tensors that contradict it or each other, and for missing halves. `bias` other than "none" is accepted where the
// file holds no bias: PEFT itself then leaves the base's.
AdapterFile parse_peft_adapter(std::string_view config_json, std::span<const Tensor> tensors);

// Puts a GGUF adapter together (general.type "adapter", adapter.type "lora", NAME.lora_a and NAME.lora_b). An
// adapter.lora.alpha of zero, or none, means scale 1, as in llama.cpp. Throws as parse_peft_adapter().
AdapterFile parse_gguf_adapter(const ModelFile& file);

}  // namespace hunch
