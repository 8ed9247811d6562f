// Output never destroys input: what a verb asks before it begins to work.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "cli/flags.h"

namespace hunch::cli {

// What a verb reads: the model (of a hub id, what the cache holds of it), its adapters, and files of these names, of
// which those that are empty are none.
std::vector<std::filesystem::path> inputs_of(const ModelFlags& model, const std::vector<std::string>& files = {});

// Throws Error{kUsage}: no path, a folder, one of the inputs or a file in a folder that is one (whatever `force` says),
// or a file that is there already without `force`. `option` names it in messages, e.g. "-o".
void check_output(const std::string& path, const std::vector<std::filesystem::path>& inputs, bool force,
                  const char* option);

// The same of a folder that is made anew: with `force` it takes the place of a model's folder or of an empty one, and
// of no other.
void check_output_folder(const std::string& path, const std::vector<std::filesystem::path>& inputs, bool force,
                         const char* option);

}  // namespace hunch::cli
