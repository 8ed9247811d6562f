// hunch logits: the model's logits at every position.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/console.h"
#include "cli/npy.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "kernels/ops.h"

namespace hunch::cli {
namespace {

// For people: the most probable next token at every position.
void print_best(const Engine& engine, std::span<const int32_t> ids, size_t first, MatView<const float> logits) {
  const auto piece = [&](int32_t id) {
    if (!engine.tokenizer || size_t(id) >= engine.tokenizer->n_vocab()) return std::string();
    return " " +
           nlohmann::json(engine.tokenizer->piece(id)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  for (size_t i = 0; i < logits.rows; ++i) {
    const auto id = int32_t(argmax(logits.row(i)));
    print(fmt::format("{}\t{}{}\t-> {}{}\tlogit {:.4f}\tp {:.4f}\n", first + i, ids[first + i], piece(ids[first + i]),
                      id, piece(id), logits.row(i)[size_t(id)], std::exp(log_prob(logits.row(i), id))));
  }
}

}  // namespace

int logits(const LogitsFlags& flags) {
  if (flags.ids.has_value() == flags.prompt.has_value())
    fail(ErrorKind::kUsage, "give either --ids 1,2,3 or --prompt TEXT");
  if (!flags.out.empty()) check_output(flags.out, inputs_of(flags.model, {flags.model.sidecar}), flags.force, "--out");
  std::vector<int32_t> ids;
  if (flags.ids) ids = parse_ids(*flags.ids, "--ids");
  const Engine engine = open_engine(flags.model);
  if (flags.prompt) ids = encode_prompt(engine.need_tokenizer(), *flags.prompt, true, false);

  // Room for just these tokens, where nothing else is asked for.
  ContextOptions options = context_options(flags.context);
  if (options.n_ctx == 0) options.n_ctx = ids.size();
  Context context(engine, options);
  print_first_line(engine, flags.model, flags.context, context.n_ctx(), context.kv_bytes());
  const size_t n_vocab = engine.config().n_vocab;
  std::optional<AtomicFile> file;
  if (!flags.out.empty()) {
    file.emplace(flags.out);
    file->write(npy_header(ids.size(), n_vocab));
  }
  // A row is written as soon as it is there: all of them may be gigabytes.
  const bool prints_rows = flags.model.json && !file;
  context.append_all(ids, [&](size_t first, MatView<const float> logits) {
    if (prints_rows && first == 0)
      print(fmt::format("{{\"n_vocab\":{},\"ids\":{},\"logits\":[", n_vocab, nlohmann::json(ids).dump()));
    for (size_t i = 0; i < logits.rows; ++i) {
      if (file) file->write(std::as_bytes(logits.row(i)));
      if (prints_rows) print((first + i ? "," : "") + nlohmann::json(logits.row(i)).dump());
    }
    if (!file && !flags.model.json) print_best(engine, ids, first, logits);
  });
  if (file) file->commit();
  if (prints_rows) {
    print("]}\n");
  } else if (flags.model.json) {
    print_json({{"n_vocab", n_vocab}, {"ids", ids}, {"out", flags.out}});
  } else if (file && !flags.model.quiet) {
    note(fmt::format("wrote {}: float32 [{}, {}]", flags.out, ids.size(), n_vocab));
  }
  return 0;
}

}  // namespace hunch::cli
