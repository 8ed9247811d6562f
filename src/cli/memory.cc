// hunch memory: a text's keys and values in a file, for --memory.
#include "engine/memory_build.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/made_by.h"
#include "cli/output_file.h"
#include "cli/parse.h"
#include "cli/session_io.h"

namespace hunch::cli {
namespace {

std::vector<size_t> layers_from(const std::string& text, const ModelConfig& config) {
  if (text == "all") return remembering_layers(config);
  if (text.empty()) return {};
  std::vector<size_t> layers = parse_counts(text, "--layers");
  std::ranges::sort(layers);
  const auto again = std::ranges::adjacent_find(layers);
  if (again != layers.end()) fail(ErrorKind::kUsage, "--layers: {} is named twice", *again);
  return layers;
}

}  // namespace

int memory(const MemoryFlags& flags) {
  if (flags.text.empty()) fail(ErrorKind::kUsage, "of which text? give --text FILE: what is to be remembered");
  check_output(flags.out, inputs_of(flags.model, {flags.text}), flags.force, "-o");
  const std::string text = read_text(flags.text);
  const Engine engine = open_engine(flags.model);
  const std::vector<int32_t> ids = engine.encode(text);
  print_first_line(engine, flags.model, {}, 0, 0);
  Memory memory;
  {
    ProgressBar bar(!flags.model.quiet);
    memory = build_memory(engine, ids, {layers_from(flags.layers, engine.config()), flags.n_ctx, flags.max_tokens},
                          bar.progress());
  }
  write_memory(flags.out, memory);
  std::vector<size_t> layers;
  for (size_t l = 0; l < memory.n_layer; ++l)
    if (!memory.layers[l].empty()) layers.push_back(l);
  if (flags.model.json) {
    print_json({{"out", flags.out}, {"n_tokens", memory.n_tokens}, {"layers", layers}, {"bytes", memory.bytes()}});
    return 0;
  }
  if (!flags.model.quiet)
    note(fmt::format("wrote {}: {} tokens in layer{} {}, {}; --memory {} looks into it", flags.out,
                     grouped(memory.n_tokens), layers.size() == 1 ? "" : "s", fmt::join(layers, ", "),
                     human_bytes(double(memory.bytes())), shell_word(flags.out)));
  return 0;
}

}  // namespace hunch::cli
