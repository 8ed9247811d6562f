// hunch rerank: documents by how well they answer a query.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/error.h"
#include "cli/console.h"
#include "cli/session_io.h"
#include "cli/text_lines.h"
#include "engine/rank.h"

namespace hunch::cli {

int rerank(const RerankFlags& flags) {
  if (!flags.query) fail(ErrorKind::kUsage, "which query? expected --query TEXT");
  const std::vector<std::string> documents = texts_of(flags.documents, "documents");
  const Engine engine = open_engine(flags.model);
  ProgressBar bar(!flags.model.quiet && documents.size() > 1);
  ReadingOptions options;
  options.n_ctx = flags.n_ctx;
  options.adapter = engine.adapter;
  options.progress = bar.progress();
  const std::vector<float> scores =
      rank(engine, *flags.query, documents, options, {.yes_no = flags.yes_no, .instruction = flags.instruction});
  bar.clear();
  std::vector<size_t> order(documents.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](size_t i) { return scores[i]; });
  if (flags.n_shown > 0) order.resize(std::min(order.size(), flags.n_shown));
  if (flags.model.json) {
    nlohmann::ordered_json json = {{"query", *flags.query}, {"results", nlohmann::ordered_json::array()}};
    for (const size_t i : order)
      json["results"].push_back({{"index", i}, {"score", scores[i]}, {"document", documents[i]}});
    print_json(json);
    return 0;
  }
  for (const size_t i : order) print(fmt::format("{:.4f}\t{}\t{}\n", scores[i], i, documents[i]));
  return 0;
}

}  // namespace hunch::cli
