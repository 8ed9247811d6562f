#include "hub/short_names.h"

#include <algorithm>
#include <array>

#include "hub/lower.h"

namespace hunch {
namespace {

// Only architectures of docs/models.md and types of docs/kernels.md. Small models are taken in Q8_0, larger ones in a
// mixture of 4 bits; a folder in the type that its authors published. Widths that are no multiple of 256 rule the K
// types out (Qwen2.5-0.5B). `:SELECTOR` must fit one GGUF only, see hub/choice.h.
constexpr std::array kShortNames = {
    ShortName{"qwen3:0.6b", "Qwen/Qwen3-0.6B-GGUF:Q8_0", "0.6 GB", "chat"},
    ShortName{"qwen3:1.7b", "Qwen/Qwen3-1.7B-GGUF:Q8_0", "1.8 GB", "chat"},
    ShortName{"qwen3:4b", "Qwen/Qwen3-4B-GGUF:Q4_K_M", "2.5 GB", "chat"},
    ShortName{"qwen3:8b", "Qwen/Qwen3-8B-GGUF:Q4_K_M", "5.0 GB", "chat"},
    ShortName{"qwen2.5:0.5b", "Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0", "0.7 GB", "chat"},
    ShortName{"qwen2.5:1.5b", "Qwen/Qwen2.5-1.5B-Instruct-GGUF:Q8_0", "1.9 GB", "chat"},
    ShortName{"qwen2.5:3b", "Qwen/Qwen2.5-3B-Instruct-GGUF:Q4_K_M", "2.1 GB", "chat"},
    ShortName{"llama3.2:1b", "bartowski/Llama-3.2-1B-Instruct-GGUF:Q8_0", "1.3 GB", "chat"},
    ShortName{"llama3.2:3b", "bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "2.0 GB", "chat"},
    ShortName{"llama3.1:8b", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M", "4.9 GB", "chat"},
    ShortName{"relullama:7b", "SparseLLM/ReluLLaMA-7B", "13 GB", "ReLU: exact zeros"},
    ShortName{"tinyllama:1.1b", "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q8_0", "1.2 GB", "chat"},
    ShortName{"smollm2:135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "0.3 GB", "chat"},
    ShortName{"smollm2:360m", "HuggingFaceTB/SmolLM2-360M-Instruct", "0.7 GB", "chat"},
    ShortName{"smollm2:1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:Q4_K_M", "1.1 GB", "chat"},
    ShortName{"mistral:7b", "bartowski/Mistral-7B-Instruct-v0.3-GGUF:Q4_K_M", "4.4 GB", "chat"},
    ShortName{"gemma2:2b", "bartowski/gemma-2-2b-it-GGUF:Q4_K_M", "1.7 GB", "chat"},
    ShortName{"gemma2:9b", "bartowski/gemma-2-9b-it-GGUF:Q4_K_M", "5.8 GB", "chat"},
    ShortName{"phi2", "TheBloke/phi-2-GGUF:Q8_0", "3.0 GB", "text"},
    ShortName{"phi3:mini", "microsoft/Phi-3-mini-4k-instruct-gguf:q4", "2.4 GB", "chat"},
    ShortName{"opt:125m", "facebook/opt-125m", "0.3 GB", "ReLU: exact zeros"},
    ShortName{"opt:350m", "facebook/opt-350m", "0.7 GB", "ReLU: exact zeros"},
    ShortName{"opt:1.3b", "facebook/opt-1.3b", "2.6 GB", "ReLU: exact zeros"},
    ShortName{"opt:2.7b", "facebook/opt-2.7b", "5.3 GB", "ReLU: exact zeros"},
    ShortName{"opt:6.7b", "facebook/opt-6.7b", "13 GB", "ReLU: exact zeros"},
    ShortName{"opt:13b", "facebook/opt-13b", "26 GB", "ReLU: exact zeros"},
    ShortName{"gpt2", "openai-community/gpt2", "0.5 GB", "text"},
    ShortName{"gpt2:medium", "openai-community/gpt2-medium", "1.5 GB", "text"},
    ShortName{"gpt2:large", "openai-community/gpt2-large", "3.2 GB", "text"},
    ShortName{"gpt2:xl", "openai-community/gpt2-xl", "6.4 GB", "text"},
    ShortName{"gpt-neo:125m", "EleutherAI/gpt-neo-125m", "0.5 GB", "text"},
    ShortName{"pythia:70m", "EleutherAI/pythia-70m", "0.2 GB", "text"},
    ShortName{"pythia:160m", "EleutherAI/pythia-160m", "0.4 GB", "text"},
    ShortName{"pythia:410m", "EleutherAI/pythia-410m", "0.9 GB", "text"},
    ShortName{"pythia:1.4b", "EleutherAI/pythia-1.4b", "2.9 GB", "text"},
    ShortName{"bloom:560m", "bigscience/bloom-560m", "1.1 GB", "text, many languages"},
    ShortName{"olmo:1b", "allenai/OLMo-1B-hf", "4.7 GB", "text"},
};

}  // namespace

std::span<const ShortName> short_names() { return kShortNames; }

const ShortName* find_short_name(std::string_view text) {
  const std::string name = lower(text);
  const auto found = std::ranges::find(kShortNames, name, &ShortName::name);
  return found == kShortNames.end() ? nullptr : &*found;
}

std::string expand_short_name(std::string_view text) {
  const ShortName* found = find_short_name(text);
  return std::string(found ? found->id : text);
}

}  // namespace hunch
