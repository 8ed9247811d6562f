// hunch merge: write a model with its adapters folded in.
#include "compress/merge_adapter.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/parse.h"
#include "cli/session_io.h"

namespace hunch::cli {
namespace fs = std::filesystem;
namespace {

// What exists is kept unless it is said otherwise, and what is read always.
void check_output(const MergeFlags& flags) {
  if (flags.out.empty()) fail(ErrorKind::kUsage, "where to? give -o FILE.gguf");
  std::error_code ec;
  const fs::path out = fs::absolute(flags.out);
  if (fs::is_directory(out, ec))
    fail(ErrorKind::kUsage, "'{}' is a folder; -o names the GGUF file to write", flags.out);
  if (!fs::exists(out, ec)) return;
  std::vector<fs::path> inputs = {resolve_model(flags.model)};
  for (const std::string& lora : flags.model.lora) inputs.push_back(parse_adapter(lora).path);
  for (const fs::path& input : inputs)
    if (fs::equivalent(out, input, ec) || fs::equivalent(out.parent_path(), input, ec))
      fail(ErrorKind::kUsage, "'{}' is part of what is read, '{}'; give -o another name", flags.out, input.string());
  if (!flags.force) fail(ErrorKind::kUsage, "'{}' exists; --force writes over it", flags.out);
}

}  // namespace

int merge(const MergeFlags& flags) {
  if (flags.model.lora.empty())
    fail(ErrorKind::kUsage, "what to merge? give --lora PATH, a PEFT folder or a GGUF adapter");
  check_output(flags);
  const Engine engine = open_engine(flags.model);
  MergeReport report;
  {
    ProgressBar bar(!flags.model.quiet);
    report = merge_adapter(*engine.model, *engine.adapter, flags.out, *engine.compute,
                           [show = bar.progress()](std::string_view what, uint64_t done, uint64_t total) {
                             throw_if_interrupted();  // what was written so far goes away with the temporary file
                             if (show) show(what, done, total);
                           });
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
