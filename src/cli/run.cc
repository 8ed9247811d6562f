// hunch run: continue a prompt.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/console.h"
#include "cli/drafting_flags.h"
#include "cli/option_words.h"
#include "cli/page_text.h"
#include "cli/parse.h"
#include "cli/reblock_price.h"
#include "cli/session_io.h"
#include "cli/text_constraint.h"

namespace hunch::cli {
namespace {

// The text to continue; nullopt when ids were given instead.
std::optional<std::string> prompt_text(const RunFlags& flags) {
  if (flags.prompt.has_value() + flags.prompt_file.has_value() + flags.ids.has_value() > 1)
    fail(ErrorKind::kUsage, "give one prompt only: --prompt, --prompt-file or --ids");
  if (flags.ids) return std::nullopt;
  if (flags.prompt) return flags.prompt;
  std::string text;
  if (flags.prompt_file) {
    text = read_text(*flags.prompt_file);
  } else {
    if (!stdin_is_terminal()) text = read_text("-");
    if (text.empty())
      fail(ErrorKind::kUsage, "no prompt: give -p TEXT, --prompt-file FILE or --ids 1,2,3, or pipe a text in");
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

nlohmann::ordered_json log_probs_json(const Engine& engine, const std::vector<GeneratedToken>& tokens) {
  const auto with_piece = [&](int32_t id, float log_prob) {
    nlohmann::ordered_json entry = {{"id", id}, {"log_prob", log_prob}};
    if (engine.tokenizer && size_t(id) < engine.tokenizer->n_vocab())
      entry["piece"] = std::string(engine.tokenizer->piece(id));
    return entry;
  };
  auto out = nlohmann::ordered_json::array();
  for (const GeneratedToken& token : tokens) {
    auto entry = with_piece(token.id, token.log_prob);
    entry["top"] = nlohmann::ordered_json::array();
    for (const TokenProbability& other : token.top) entry["top"].push_back(with_piece(other.id, other.log_prob));
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

int run(const RunFlags& flags) {
  if (flags.top_log_probs && !flags.model.json)
    fail(ErrorKind::kUsage, "--log-probs is part of the JSON answer; add --json");
  GenerateOptions options;
  options.n_tokens = flags.n_tokens;
  options.sampler = sampler_options(flags.sampler);
  options.stop = stop_texts(flags.stop);
  options.ignore_end = flags.ignore_end;
  options.log_probs = flags.top_log_probs.has_value();
  options.n_top_log_probs = flags.top_log_probs.value_or(0);
  const std::optional<std::string> text = prompt_text(flags);
  std::vector<int32_t> ids;
  if (flags.ids) ids = parse_ids(*flags.ids, "--ids");

  const Engine engine = open_engine(flags.model);
  if (!flags.stop.empty()) engine.need_tokenizer();
  options.constraint = text_constraint(flags, engine);
  if (text) ids = encode_prompt(engine.need_tokenizer(), *text, !flags.no_bos, flags.special);
  ContextOptions own = context_options(flags.context);
  const std::shared_ptr<const KeySelector> draft_keys = take_draft_keys(flags.drafting, own);
  Context context(engine, own);
  const DraftingOptions drafting_with = drafting_options(flags.drafting, flags.model, engine, draft_keys);
  std::optional<Drafting> drafting;
  if (drafting_with.any()) drafting.emplace(engine, context.sequence(), drafting_with);
  if (drafting) options.speculation = &drafting->speculation();
  print_first_line(engine, flags.model, flags.context, context.n_ctx(), context.kv_bytes());
  print_reblock_price(engine, flags.model, ids);

  // On a terminal the prompt is shown before its continuation; what is piped on is the continuation only.
  if (text && !flags.model.json && !flags.model.quiet && stdout_is_terminal() && stderr_is_terminal())
    fmt::print(stderr, "{}", styled(Style::kDim, *text));
  std::vector<GeneratedToken> tokens;
  const bool has_text = engine.tokenizer.has_value();
  bool ends_line = true, first = true;
  const Generated generated = generate(context, ids, options, [&](const GeneratedToken& token) {
    if (flags.top_log_probs) tokens.push_back(token);
    if (flags.model.json) return true;
    const std::string shown = has_text ? token.text : fmt::format("{}{}", first ? "" : ",", token.id);
    first = false;
    if (!shown.empty()) ends_line = shown.ends_with('\n');
    print(shown);
    return true;
  });
  if (!flags.model.json && !ends_line) print("\n");
  tokens.resize(std::min(tokens.size(), generated.ids.size()));  // the text held back comes as one call more

  if (generated.stop_reason == StopReason::kContextFull && !flags.model.quiet)
    note(with_flags(fmt::format("stopped: the context of {} tokens is full; {}", context.n_ctx(),
                                room_for(engine.config(), 2 * context.n_ctx()))));
  Speed speed = speed_of(generated);
  if (drafting) speed.draft_bytes = tally_of(drafting->speculation(), generated.n_decoded).bytes;
  const bool drawn = !flags.sampler.seed && options.sampler.temperature > 0;
  print_last_line(engine, speed, flags.model, drawn ? std::optional(options.sampler.seed) : std::nullopt);
  if (drafting && flags.model.verbose) note(describe_drafts(drafting->speculation(), generated.n_decoded));
  const PageReads& pages = generated.stats.pages;
  if (const std::string read = describe_pages(pages); flags.model.verbose && !read.empty()) note(read);
  if (flags.model.json) {
    nlohmann::ordered_json json = {{"text", generated.text},
                                   {"ids", generated.ids},
                                   {"n_prompt", generated.n_prompt},
                                   {"n_generated", generated.ids.size()},
                                   {"tokens_per_s", speed.tokens_per_s()},
                                   {"prompt_tokens_per_s", speed.prompt_tokens_per_s()},
                                   {"gb_per_s", speed.gb_per_s()},
                                   {"stop_reason", name_of(generated.stop_reason)},
                                   {"seed", options.sampler.seed},
                                   {"prompt_ids", ids},
                                   {"n_ctx", context.n_ctx()},
                                   {"kv_bytes", context.kv_bytes()},
                                   {"density_mlp", mean_of(density_per_layer(speed.main_stats()))},
                                   {"density_mlp_per_layer", density_per_layer(speed.main_stats())},
                                   {"model", model_json(engine, flags.model)}};
    if (const auto machine = engine.device ? std::nullopt : cached_machine_speed(engine.compute->threads.n_threads()))
      json["bandwidth_share"] = speed.gb_per_s() / machine->read_gb_per_s;
    if (pages.n_choices) json["pages"] = pages_json(pages);
    if (drafting) json["drafts"] = drafts_json(drafting->speculation(), generated.n_decoded);
    if (flags.top_log_probs) json["log_probs"] = log_probs_json(engine, tokens);
    print_json(json);
  }
  return generated.stop_reason == StopReason::kInterrupted ? 130 : 0;
}

}  // namespace hunch::cli
