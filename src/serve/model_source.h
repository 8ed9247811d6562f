// Models that a server may load: what they are called, and where they are.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace hunch::serve {

struct ModelSource {
  std::string name;                       // as requests choose it and answers say it
  std::filesystem::path path;             // no client is told
  std::vector<std::string> aliases = {};  // other names of it

  // Whether a request means this one. Ollama's clients say "NAME:latest".
  bool is_named(std::string_view asked) const;
};

// What the model at this path is called: the stem of a file, the name of a folder; of a model in parts
// ("name-00001-of-00003.gguf") what they have in common.
std::string name_of_model(const std::filesystem::path& path);

// The GGUF files of a folder and its subfolders that are Hugging Face models, by name; of models in parts the first
// part, and no projectors of images ("mmproj-..."). Of two that would have one name the later keeps its extension.
// Throws Error{kIo} for what is no folder or cannot be read.
std::vector<ModelSource> models_in(const std::filesystem::path& folder);

}  // namespace hunch::serve
