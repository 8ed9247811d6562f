// hunch logits: the model's logits at every position.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "cli/console.h"
#include "cli/npy.h"
#include "cli/npz.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"
#include "engine/not_finite.h"
#include "kernels/ops.h"
#include "measure/activation_trace.h"

namespace hunch::cli {
namespace {

// One array per layer and kind, named "layer.N.kind".
void write_trace(const ActivationTrace& trace, const std::vector<int32_t>& ids, const std::string& path) {
  NpzFile file(path);
  file.add("ids", "<i4", {ids.size()}, std::as_bytes(std::span(ids)));
  for (size_t l = 0; l < trace.layers().size(); ++l) {
    const ActivationTrace::Layer& x = trace.layers()[l];
    const auto add = [&](const char* kind, const char* type, std::span<const std::byte> bytes, size_t size) {
      if (bytes.empty()) return;
      const size_t width = bytes.size() / size / ids.size();
      file.add(fmt::format("layer.{}.{}", l, kind), type, {ids.size(), width}, bytes);
    };
    add("activations", "<f2", std::as_bytes(std::span(x.activations)), 2);
    add("neurons", "|b1", std::as_bytes(std::span(x.neurons)), 1);
    add("head_groups", "|b1", std::as_bytes(std::span(x.groups)), 1);
    add("head_norms", "<f4", std::as_bytes(std::span(x.head_norms)), 4);
    add("router", "<f4", std::as_bytes(std::span(x.router)), 4);
  }
  file.commit();
}

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

void check_finite(const Engine& engine, std::span<const int32_t> ids, size_t first, MatView<const float> logits) {
  for (size_t i = 0; i < logits.rows; ++i) {
    const auto bad = std::ranges::find_if(logits.row(i), [](float x) { return !std::isfinite(x); });
    if (bad != logits.row(i).end())
      fail_not_finite(
          engine, ids.first(first + i + 1),
          fmt::format("the logit of token {} after position {} is {}", bad - logits.row(i).begin(), first + i, *bad));
  }
}

}  // namespace

int logits(const LogitsFlags& flags) {
  if (flags.ids.has_value() == flags.prompt.has_value())
    fail(ErrorKind::kUsage, "give either --ids 1,2,3 or --prompt TEXT");
  if (!flags.out.empty()) check_output(flags.out, inputs_of(flags.model, {flags.model.sidecar}), flags.force, "--out");
  if (!flags.trace_out.empty())
    check_output(flags.trace_out, inputs_of(flags.model, {flags.model.sidecar, flags.out}), flags.force, "--trace-out");
  std::vector<int32_t> ids;
  if (flags.ids) ids = parse_ids(*flags.ids, "--ids");
  const Engine engine = open_engine(flags.model);
  if (flags.prompt) ids = encode_prompt(engine.need_tokenizer(), *flags.prompt, true, false);

  // Room for just these tokens, where nothing else is asked for.
  ContextOptions options = context_options(flags.context);
  if (options.n_ctx == 0) options.n_ctx = ids.size();
  options.decodes_all = !flags.trace_out.empty();  // what is seen is how each token would be decoded
  Context context(engine, options);
  std::optional<ActivationTrace> trace;
  if (!flags.trace_out.empty()) context.set_observer(&trace.emplace(engine.config(), ids.size()));
  print_first_line(engine, flags.model, flags.context, context.n_ctx(), context.kv_bytes());
  const size_t n_vocab = engine.config().n_vocab;
  std::optional<AtomicFile> file;
  if (!flags.out.empty()) {
    file.emplace(flags.out);
    file->write(npy_header("<f4", {ids.size(), n_vocab}));
  }
  // A row is written as soon as it is there: all of them may be gigabytes.
  const bool prints_rows = flags.model.json && !file;
  context.append_all(ids, [&](size_t first, MatView<const float> logits) {
    check_finite(engine, ids, first, logits);
    if (prints_rows && first == 0)
      print(fmt::format("{{\"n_vocab\":{},\"ids\":{},\"logits\":[", n_vocab, nlohmann::json(ids).dump()));
    for (size_t i = 0; i < logits.rows; ++i) {
      if (file) file->write(std::as_bytes(logits.row(i)));
      if (prints_rows) print((first + i ? "," : "") + nlohmann::json(logits.row(i)).dump());
    }
    if (!file && !flags.model.json) print_best(engine, ids, first, logits);
  });
  if (file) file->commit();
  if (trace) write_trace(*trace, ids, flags.trace_out);
  if (trace && !flags.model.quiet) note(fmt::format("wrote {}: {} tokens", flags.trace_out, ids.size()));
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
