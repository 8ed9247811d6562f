// For tests: a small random Llama whose heads are as wide as any type of the cache wants.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <string>

#include "engine/engine.h"
#include "synth/synth.h"

namespace hunch {

// Two layers, heads of 32 values of which two share a KV head; the same for all tests of a process.
inline const Engine& synth_engine() {
  static const Engine engine = [] {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / ("hunch-synth-" + std::to_string(::getpid()) + ".gguf");
    Compute compute(1);
    SynthOptions options;
    options.shape = {.name = "test",
                     .arch = "llama",
                     .n_layer = 2,
                     .n_embd = 128,
                     .n_ff = 64,
                     .n_head = 4,
                     .n_kv_head = 2,
                     .n_vocab = 512,
                     .n_ctx = 512,
                     .activation = Activation::kSilu};
    options.dtype = DType::kF32;
    write_synth(path, options, compute);
    Engine made = load_engine(path, {.n_threads = 2});
    std::filesystem::remove(path);
    return made;
  }();
  return engine;
}

}  // namespace hunch
