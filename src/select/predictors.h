// The predictors that there are.
#pragma once
#include <memory>
#include <string_view>

#include "select/predictor.h"

namespace hunch {

// What save() wrote of a predictor of this stored_kind(). nullptr: there is none of that kind. Throws as ArchiveReader.
std::shared_ptr<const Predictor> load_predictor(std::string_view stored_kind, size_t n_in, size_t n_out,
                                                const ArchiveReader& archive);

}  // namespace hunch
