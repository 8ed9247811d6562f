// hunch merge: write a model with its adapters folded in.
#include "compress/merge_adapter.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/session_io.h"

namespace hunch::cli {
int merge(const MergeFlags& flags) {
  if (flags.model.lora.empty())
    fail(ErrorKind::kUsage, "what to merge? give --lora PATH, a PEFT folder or a GGUF adapter");
  check_output(flags.out, inputs_of(flags.model), flags.force, "-o");
  const Engine engine = open_engine(flags.model);
  MergeReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = merge_adapter(*engine.model, *engine.adapter, flags.out, *engine.compute, bar.progress());
  }
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"adapter", engine.adapter->name},
                {"n_tensors", report.n_tensors},
                {"n_changed", report.n_changed},
                {"notes", report.notes}});
    return 0;
  }
  if (flags.model.quiet) return 0;
  for (const std::string& text : report.notes) note("note: " + text);
  note(fmt::format("wrote {}: {} of {} tensors changed by {}", flags.out, report.n_changed, report.n_tensors,
                   engine.adapter->name));
  return 0;
}

}  // namespace hunch::cli
