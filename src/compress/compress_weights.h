// `hunch compress --method`: pruning and rounding of a model's matrices, fitted to a text.
#pragma once
#include <filesystem>

#include "base/progress.h"
#include "compress/compress_options.h"
#include "engine/engine.h"

namespace hunch {

// Writes the model with the matrices of these roles compressed, everything else as it was (but for norms and biases
// that AWQ's scales are folded into): a GGUF file of plain blocks. Layer by layer, as the file is written: each is
// fitted to what the layers before it make of the text, and forgotten. The engine's model is the same afterwards.
//
// Throws Error{kUsage} for options or a text that make no sense, Error{kUnsupported} for a model of low rank or a type
// that the methods cannot write, Error{kFormat} for weights or activations that are not finite, Error{kMemory},
// Error{kInterrupted}, Error{kIo}; then no file is left.
CompressReport compress_weights(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options,
                                const std::filesystem::path& output, const Progress& progress = {});

// Throws kUsage where the inputs of such matrices are not rotated (CompressOptions::rotated), which no model decides.
void check_rotated_roles(const CompressOptions& options);
// Throws what compress_weights() does before it begins.
void check_compress(const Engine& engine, std::span<const int32_t> ids, const CompressOptions& options);

}  // namespace hunch
