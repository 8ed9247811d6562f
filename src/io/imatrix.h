// Importance matrices: what the matrices of a model read on a text, as sums of squares by column. The quantiser weighs
// its errors by them. Two forms: GGUF, as llama.cpp writes since the middle of 2025 (tools/imatrix), read and written;
// and the older one, a list of entries without a magic number, which is read only.
#pragma once
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/stop.h"

namespace hunch {

struct ImportanceMatrix {
  struct Entry {
    size_t n_columns = 0;
    std::vector<float> sums;    // of squares, [n_matrices, n_columns]: several matrices are experts
    std::vector<float> counts;  // tokens that each matrix read, [n_matrices]

    size_t n_matrices() const { return counts.size(); }
    // Mean squares of a matrix' inputs, [n_columns]. An expert that read nothing has those of all experts together;
    // without any tokens all are 0.
    std::vector<float> means(size_t matrix) const;
  };
  std::map<std::string, Entry> entries;  // by GGUF's names of tensors: "blk.0.attn_q.weight"
  std::vector<std::string> texts;        // what was read, for people
  uint32_t n_chunks = 0, chunk_tokens = 0;

  // nullptr: nobody saw its inputs.
  const Entry* find(const std::string& tensor) const;
};

// A matrix from the bytes of either form. Throws Error{kFormat}: neither, truncated, sizes that do not go together,
// numbers that are negative or not finite.
ImportanceMatrix parse_imatrix(std::span<const std::byte> bytes);
// Maps and parses the file; messages name it.
ImportanceMatrix open_imatrix(const std::filesystem::path& path);
// Writes the GGUF form, atomically.
void write_imatrix(const std::filesystem::path& path, const ImportanceMatrix& matrix, const Stop* stop = nullptr);

}  // namespace hunch
