#include "cli/compress_flags.h"

#include "base/error.h"

namespace hunch::cli {

void check_no_int8(const CompressFlags& flags) {
  if (flags.scales != "auto" || flags.activations != "auto" || flags.range != "auto" || flags.alpha || flags.threshold)
    fail(ErrorKind::kUsage,
         "--scales, --activations, --range, --alpha and --threshold go with methods that round activations");
}

void check_no_folder(const CompressFlags& flags) {
  if (flags.layout != "auto" || flags.out.ends_with('/'))
    fail(ErrorKind::kUsage, "a folder (--export) has numbers of --method rtn, gptq, awq, w8a8 or smoothquant");
}

void check_no_rotated_inputs(const CompressFlags& flags) {
  if (!flags.rotate_inputs.empty())
    fail(ErrorKind::kUsage, "--rotate-inputs goes with rtn, gptq and nf4, and a GGUF file");
}

}  // namespace hunch::cli
