#include "cli/drafting_flags.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "cli/console.h"
#include "cli/parse.h"
#include "cli/session_io.h"

namespace hunch::cli {

std::shared_ptr<const KeySelector> take_draft_keys(const DraftFlags& flags, ContextOptions& context) {
  if (!flags.lossless || !context.keys || context.keys->drops()) return nullptr;
  return std::exchange(context.keys, nullptr);
}

DraftingOptions drafting_options(const DraftFlags& flags, const ModelFlags& model, const Engine& engine,
                                 std::shared_ptr<const KeySelector> keys) {
  DraftingOptions options;
  options.keys = std::move(keys);
  if (flags.draft_tokens != "auto") {
    options.n_tokens = parse_count(flags.draft_tokens, "--draft-tokens");
    if (options.n_tokens < 1 || options.n_tokens > kMaxDraftTokens)
      fail(ErrorKind::kUsage, "--draft-tokens: expected auto or 1 to {}, found {}", kMaxDraftTokens, options.n_tokens);
    if (!flags.any())
      fail(ErrorKind::kUsage,
           "--draft-tokens says how much to draft, but not by whom; add --lossless, --ngram or --draft MODEL");
  }
  if (flags.no_ngram && (flags.ngram || !flags.lossless))
    fail(ErrorKind::kUsage, "--no-ngram goes with --lossless, and not with --ngram");
  options.ngram = flags.ngram || (flags.lossless && !flags.no_ngram);
  options.sparse = flags.lossless && engine.sidecar;
  if (flags.no_ngram && !options.sparse && !options.keys)
    fail(ErrorKind::kUsage, "--no-ngram leaves nobody to draft: {}",
         engine.sidecar_problem.empty()
             ? fmt::format("no sidecar '{}' (`hunch sparsify` makes it)", engine.sidecar_path.string())
             : engine.sidecar_problem);
  if (flags.lossless && !options.sparse && !options.keys && flags.draft.empty() && !model.quiet)
    note(engine.sidecar_problem.empty() ? fmt::format("no sidecar '{}' (`hunch sparsify` makes it): only n-grams draft",
                                                      engine.sidecar_path.string())
                                        : fmt::format("only n-grams draft: {}", engine.sidecar_problem));
  if (flags.draft.empty()) return options;
  ModelFlags draft = model;
  draft.model = flags.draft;
  EngineOptions engine_options;
  engine_options.compute = engine.compute;
  options.model = std::make_shared<const Engine>(load_engine(resolve_model(draft), engine_options));
  if (!model.quiet)
    note(fmt::format("drafts: {}, {}", display_name(*options.model, draft),
                     name_of(options.model->model->main_dtype())));
  return options;
}

DraftTally tally_of(const Speculation& speculation, size_t n_decoded) {
  DraftTally t{speculation.n_passes(), n_decoded};
  for (const auto& s : speculation.stats()) {
    t.n_drafted += s.n_drafted;
    t.n_accepted += s.n_accepted;
    t.bytes += s.bytes;
  }
  return t;
}

std::string describe_drafts(const Speculation& speculation, size_t n_decoded) {
  const DraftTally t = tally_of(speculation, n_decoded);
  std::string line = fmt::format("{:.2f} tokens per pass; ", t.tokens_per_pass());
  if (t.n_drafted == 0) return line + "nothing was drafted";
  line += fmt::format("{} of {} drafted tokens accepted", t.n_accepted, t.n_drafted);
  const auto stats = speculation.stats();
  if (stats.size() < 2) return line;
  std::string each;
  for (const auto& s : stats)
    each += fmt::format("{}{} {} of {}", each.empty() ? "" : ", ", s.name, s.n_accepted, s.n_drafted);
  return line + " (" + each + ")";
}

nlohmann::ordered_json drafts_json(const Speculation& speculation, size_t n_decoded) {
  const DraftTally t = tally_of(speculation, n_decoded);
  nlohmann::ordered_json json = {{"acceptance", t.acceptance()}, {"tokens_per_pass", t.tokens_per_pass()},
                                 {"n_passes", t.n_passes},       {"n_drafted", t.n_drafted},
                                 {"n_accepted", t.n_accepted},   {"drafters", nlohmann::ordered_json::array()}};
  for (const auto& s : speculation.stats())
    json["drafters"].push_back({{"name", s.name},
                                {"n_drafted", s.n_drafted},
                                {"n_accepted", s.n_accepted},
                                {"seconds", s.seconds},
                                {"bytes", s.bytes}});
  return json;
}

}  // namespace hunch::cli
