#include "synth/shape.h"

#include <vector>

#include "base/error.h"
#include "io/printable.h"
#include "synth/vocab.h"

namespace hunch {
namespace {

constexpr Activation kRelu = Activation::kRelu, kSilu = Activation::kSilu;

// OPT: Zhang et al. 2022, table 1. Llama-like: TinyLlama 1.1B, OpenLLaMA 3B (reglu-3b is the same with ReLU
// for its gate), Llama 2 7B, Llama 3 8B, SparseLM 2B, Mixtral 8x7B (Jiang et al. 2024, table 1). nemotron-h-moe-1b has
// the widths of Nemotron 3 Nano (30B) with 9 of its 52 layers, and 16 of its 128 experts in each.
const SynthShape kShapes[] = {
    {"opt-125m", "opt", 12, 768, 3072, 12, 12, 50272, 2048, kRelu},
    {"opt-1.3b", "opt", 24, 2048, 8192, 32, 32, 50272, 2048, kRelu},
    {"opt-2.7b", "opt", 32, 2560, 10240, 32, 32, 50272, 2048, kRelu},
    {"opt-6.7b", "opt", 32, 4096, 16384, 32, 32, 50272, 2048, kRelu},
    {"opt-13b", "opt", 40, 5120, 20480, 40, 40, 50272, 2048, kRelu},
    {"opt-30b", "opt", 48, 7168, 28672, 56, 56, 50272, 2048, kRelu},
    {"llama-1.1b", "llama", 22, 2048, 5632, 32, 4, 32000, 2048, kSilu},
    {"llama-3b", "llama", 26, 3200, 8640, 32, 32, 32000, 2048, kSilu},
    {"reglu-3b", "llama", 26, 3200, 8640, 32, 32, 32000, 2048, kRelu},
    {"llama-7b", "llama", 32, 4096, 11008, 32, 32, 32000, 4096, kSilu},
    {"llama3-8b", "llama", 32, 4096, 14336, 32, 8, 128256, 8192, kSilu},
    {"sparselm-2b", "llama", 38, 2048, 5632, 32, 32, 49152, 2048, kRelu},
    {"mixtral-8x7b", "llama", 32, 4096, 14336, 32, 8, 32000, 32768, kSilu, {.n_expert = 8, .n_expert_used = 2}},
    {"nemotron-h-moe-1b",
     "nemotron_h_moe",
     9,
     2688,
     1856,
     21,
     3,
     32000,
     8192,
     Activation::kReluSquared,
     {.blocks = "MEMEM*EME",
      .n_expert = 16,
      .n_expert_used = 6,
      .n_ff_shared = 3712,
      .n_state_head = 64,
      .d_state_head = 64,
      .n_group = 8,
      .d_state = 128}},
};

void check_range(const char* what, size_t value, size_t low, size_t high) {
  if (value < low || value > high) fail(ErrorKind::kUsage, "{} is {}, expected {} to {}", what, value, low, high);
}

}  // namespace

std::span<const SynthShape> synth_shapes() { return kShapes; }

const SynthShape& synth_shape(std::string_view name) {
  std::vector<std::string_view> names;
  for (const SynthShape& shape : kShapes) {
    if (shape.name == name) return shape;
    names.push_back(shape.name);
  }
  fail(ErrorKind::kUsage, "unknown shape '{}'; possible: {}", printable(name), fmt::join(names, ", "));
}

void validate(const SynthShape& s) {
  check_range("n_layer", s.n_layer, 1, 1000);
  check_range("n_embd", s.n_embd, 32, 65536);
  check_range("n_ff", s.n_ff, 1, 1u << 20);
  check_range("n_head", s.n_head, 1, s.n_embd);
  check_range("n_kv_head", s.n_kv_head, 1, s.n_head);
  check_range("n_vocab", s.n_vocab, kMinSynthVocab, kMaxSynthVocab);
  check_range("n_ctx", s.n_ctx, 1, 1u << 22);
  if (s.n_embd % s.n_head != 0) fail(ErrorKind::kUsage, "n_embd {} is not a multiple of n_head {}", s.n_embd, s.n_head);
  if (s.n_head % s.n_kv_head != 0)
    fail(ErrorKind::kUsage, "n_head {} is not a multiple of n_kv_head {}", s.n_head, s.n_kv_head);
  if (s.is_hybrid() && s.hybrid.blocks.size() != s.n_layer)
    fail(ErrorKind::kUsage, "n_layer {} cannot be another than the {} blocks of the shape: {}", s.n_layer,
         s.hybrid.blocks.size(), s.hybrid.blocks);
  if (s.arch == "opt" && s.n_kv_head != s.n_head)
    fail(ErrorKind::kUsage, "OPT has as many key heads as heads; n_kv_head {} is not n_head {}", s.n_kv_head, s.n_head);
  if (s.arch == "llama" && s.d_head() % 2 != 0)
    fail(ErrorKind::kUsage,
         "heads of {} values cannot be rotated in pairs; choose n_head so that n_embd / n_head is even", s.d_head());
}

}  // namespace hunch
