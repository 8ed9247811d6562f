// hunch imatrix: what a model's matrices read on a text, for hunch quantize --imatrix.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/console.h"
#include "cli/made_by.h"
#include "cli/output_file.h"
#include "cli/session_io.h"
#include "compress/importance.h"

namespace hunch::cli {

int imatrix(const ImatrixFlags& flags) {
  if (flags.text.empty())
    fail(ErrorKind::kUsage,
         "on which text? give --text FILE or name it after the model: some 100 KB like what the "
         "model will read");
  check_output(flags.out, inputs_of(flags.model, {flags.text}), flags.force, "-o");
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  const std::vector<int32_t> ids = engine.encode(text);
  print_first_line(engine, flags.model, {}, 0, 0);
  ImportanceOptions options{flags.n_ctx, flags.max_tokens, std::filesystem::path(flags.text).filename().string()};
  if (options.n_ctx == 0) options.n_ctx = std::min<size_t>(512, engine.config().n_ctx_train);
  ImportanceMatrix matrix;
  {
    ProgressBar bar(!flags.model.quiet);
    matrix = measure_importance(engine, ids, options, bar.progress());
  }
  write_imatrix(flags.out, matrix, &interrupt_stop());
  size_t n_without = 0;  // experts that no token was given to
  for (const auto& [name, entry] : matrix.entries) n_without += size_t(std::ranges::count(entry.counts, 0.0f));
  const size_t n_tokens = size_t{matrix.n_chunks} * matrix.chunk_tokens;
  if (flags.model.json) {
    print_json({{"out", flags.out},
                {"n_matrices", matrix.entries.size()},
                {"n_tokens", n_tokens},
                {"n_ctx", matrix.chunk_tokens},
                {"experts_without_tokens", n_without}});
    return 0;
  }
  if (flags.model.quiet) return 0;
  if (n_without)
    note(
        fmt::format("note: {} matrices of experts read nothing on this text; they will be weighed as the others of "
                    "their layer: take a longer text",
                    n_without));
  note(
      fmt::format("wrote {}: {} matrices over {} tokens in windows of {}; `hunch quantize {} --imatrix {} ...` uses it",
                  flags.out, matrix.entries.size(), grouped(n_tokens), matrix.chunk_tokens,
                  shell_word(flags.model.model), shell_word(flags.out)));
  return 0;
}

}  // namespace hunch::cli
