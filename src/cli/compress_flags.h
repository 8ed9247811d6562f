// Options of `hunch compress` that only some of its methods have, refused for the others.
#pragma once
#include "cli/flags.h"

namespace hunch::cli {

// All throw Error{kUsage} naming what the options go with.
void check_no_int8(const CompressFlags& flags);
void check_no_folder(const CompressFlags& flags);
void check_no_rotated_inputs(const CompressFlags& flags);

// What can be told of a list of weight methods (compress_by_method) before a large model is read.
void check_method_flags(const CompressFlags& flags);

}  // namespace hunch::cli
