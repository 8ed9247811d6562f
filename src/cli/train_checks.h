// Options of hunch train that contradict each other.
#pragma once
#include <filesystem>

#include "cli/train_flags.h"

namespace hunch::cli {

bool trains_all(const TrainFlags& flags);
bool writes_folder(const TrainFlags& flags);
// "tone/" is the same folder as "tone".
std::filesystem::path output_path(const TrainFlags& flags);

// Throws Error{kUsage} naming them.
void check_train_flags(const TrainFlags& flags);

}  // namespace hunch::cli
