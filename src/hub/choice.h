// Which files of a repository make a model that hunch can read. A pure function of the listing.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/listing.h"

namespace hunch {

struct HubChoice {
  std::vector<HubFile> files;
  // The file that opens the model (a .gguf, its first shard); empty when the folder is the model.
  std::string main_file;
  // The index whose shards are still to be added by add_shards; empty for a single weight file.
  std::string index_file;
};

// Chooses what a model needs from a repository's files.
//
//   selector ""       an HF folder (config.json, tokenizer, weights: safetensors before pytorch_model.bin, never both),
//   or
//                     the only GGUF of a repository that holds nothing else
//   selector "Q4_0"   the GGUF with this quantisation in its name, with all its shards (any case)
//   selector a path   this file, with all its shards if it is a GGUF
//
// A choice with an index_file is not complete: its shards are named inside that file (add_shards).
// Throws Error{kNotFound} with the files there are when nothing or more than one thing fits, and
// Error{kUnsupported} for a repository that holds no model hunch reads. `repo` is for the messages.
HubChoice choose_hub_files(const std::vector<HubFile>& files, std::string_view selector, const std::string& repo);

// Adds the shards named in the text of choice.index_file, each of which must be listed.
void add_shards(HubChoice& choice, const std::vector<HubFile>& files, std::string_view index_json);

}  // namespace hunch
