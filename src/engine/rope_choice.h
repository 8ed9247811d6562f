// How a model's RoPE is stretched beyond the length that it was trained with, where not as its file says.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "io/model_file.h"

namespace hunch {

struct RopeChoice {
  enum class Kind : uint8_t {
    kNone,        // as if the file named no scaling
    kLinear,      // positions divided by the factor (Chen et al. 2023)
    kNtk,         // the base times factor^(d / (d - 2)): fast turns stay, slow ones stretch by the factor
    kDynamic,     // the same by the length of the text so far, from the trained length on
    kYarn,        // Peng et al. 2023
    kSelfExtend,  // positions divided by the factor, a whole number, from `window` tokens ago on (Jin et al. 2024)
  };
  Kind kind = Kind::kNone;
  double factor = 1;
  size_t window = 0;  // 0: half of the context that the file states
};

// "none", "linear:4", "ntk:4", "dynamic", "dynamic:2", "yarn:4", "self-extend:8", "self-extend:8,window=512"; nothing:
// it is none of these. Throws Error{kUsage} for one of these words with a factor that is not a number of at least 1.
std::optional<RopeChoice> rope_choice_from(std::string_view text);

// These words, for messages.
std::string_view rope_choice_help();

// Changes what the file says. Throws Error{kUnsupported} where it has factors of its own (LongRoPE).
void apply(const RopeChoice& choice, ModelFile& file);

}  // namespace hunch
