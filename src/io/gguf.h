// GGUF v2 / v3: parse (pure, on bytes), open (memory-mapped), write (v3).
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once
#include <filesystem>
#include <functional>
#include <span>

#include "base/progress.h"
#include "base/stop.h"
#include "io/model_file.h"

namespace hunch {

// Parses a GGUF file's bytes. Tensors are views into `bytes`; the caller keeps them alive (no owner
// is recorded). Throws Error{kFormat} for truncated, oversized, overlapping or lying input: every
// length is checked against what is left of the file before anything is allocated.
ModelFile parse_gguf(std::span<const std::byte> bytes);

// Maps the file and parses it; the map is among the result's owners. Split files
// (name-00001-of-00003.gguf) are joined. Messages name the path.
ModelFile open_gguf(const std::filesystem::path& path);

// The files of a model that open_gguf() found in n_parts, in the order of ModelFile::maps.
std::vector<std::filesystem::path> gguf_parts(const std::filesystem::path& path, size_t n_parts);

// A tensor to be written: its data is produced when its turn comes, so that a conversion never holds
// the whole model. `produce` returns exactly n_bytes; the span lives until the next call.
struct TensorToWrite {
  std::string name;
  DType dtype;
  std::vector<uint64_t> shape;  // row-major, outermost first
  std::function<std::span<const std::byte>()> produce;
};

// Writes GGUF v3 atomically (temporary name, then rename). Alignment 32 or meta["general.alignment"]. Throws
// Error{kIo}, and Error{kInterrupted} when `stop` asks for it: then nothing is left of what was written.
void write_gguf(const std::filesystem::path& path, const Metadata& meta, std::span<const TensorToWrite> tensors,
                const Progress& progress = {}, const Stop* stop = nullptr);

// A ModelFile as it is.
void write_gguf(const std::filesystem::path& path, const ModelFile& model, const Progress& progress = {},
                const Stop* stop = nullptr);

}  // namespace hunch
