// A path to a ModelFile, whatever format lies there.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/stop.h"
#include "io/model_file.h"
#include "io/quantised_folder.h"

namespace hunch {

struct OpenedModel {
  ModelFile file;
  std::string source;                      // "GGUF", "HF folder", "llama2.c"
  std::vector<std::string> unused;         // HF tensors that no mapping asked for
  std::vector<std::string> unread = {};    // keys of config.json or GGUF that no one read and that may matter
  QuantisedReport quantised = {};          // what became of a quantised checkpoint's weights
  std::vector<std::string> left_out = {};  // tensors that guess tokens beyond the next one, which nothing computes
};

// "12 tensors that guess tokens beyond the next one are left out: mtp.fc.weight, ..."; "" for none.
std::string describe_left_out(const std::vector<std::string>& tensors);

// Opens a GGUF file, a Hugging Face folder (converted in memory, as `hunch convert` would write it:
// weights stay views into the mapped files wherever their layout is kept), or a llama2.c .bin with
// its tokenizer.bin (or tok*.bin) beside it. Recognised by content, not by name.
// The weights of a quantised folder are decoded `as` is said, by n_threads (0: default_n_threads()). Throws
// Error{kNotFound | kFormat | kUnsupported} naming path and cause, Error{kInterrupted} when `stop` asks for it.
OpenedModel open_model(const std::filesystem::path& path, const Stop* stop = nullptr,
                       QuantisedAs as = QuantisedAs::kAuto, size_t n_threads = 0);

// What tokenizers and chat templates need of a model: its metadata, of a Hugging Face folder those of its tokenizer
// alone, for which no weights are decoded or moved. Throws as open_model().
Metadata open_vocabulary(const std::filesystem::path& path, const Stop* stop = nullptr);

}  // namespace hunch
