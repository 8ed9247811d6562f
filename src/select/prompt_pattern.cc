#include "select/prompt_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/read_number.h"

namespace hunch {
namespace {

struct PatternName {
  std::string_view name;
  PatternKind kind;
};
constexpr PatternName kPatternNames[] = {{"a-shape", PatternKind::kAShape},
                                         {"vertical-slash", PatternKind::kVerticalSlash},
                                         {"blocks", PatternKind::kBlocks}};

constexpr std::string_view kNeurons = "neurons";

const PatternName* pattern_named(std::string_view name) {
  const auto found = std::ranges::find(kPatternNames, name, &PatternName::name);
  return found == std::end(kPatternNames) ? nullptr : found;
}

void read_count(std::string_view text, std::string_view name, size_t most, size_t& to) {
  if (!read_number(text, to) || to == 0 || to > most)
    fail(ErrorKind::kUsage, "the pattern of prompts (prefill) has {} '{}', expected a whole number from 1 to {}", name,
         text.substr(0, 40), most);
}

void read_pattern_option(std::string_view option, PromptPattern& p) {
  const size_t equals = std::min(option.find('='), option.size());
  const std::string_view name = option.substr(0, equals),
                         value = equals < option.size() ? option.substr(equals + 1) : std::string_view();
  const bool slashes = p.kind == PatternKind::kVerticalSlash;
  if (name == "sinks" && p.kind != PatternKind::kBlocks) return read_count(value, name, size_t{1} << 20, p.sinks);
  if (name == "queries" && slashes) return read_count(value, name, 512, p.queries);
  if (name != "verticals" || !slashes)
    fail(ErrorKind::kUsage, "the pattern of prompts (prefill): '{}' is no option of it, expected {}",
         option.substr(0, 40),
         slashes                          ? "sinks=N, verticals=SHARE or queries=N"
         : p.kind == PatternKind::kAShape ? "sinks=N"
                                          : "none");
  if (!read_number(value, p.verticals) || !(p.verticals >= 0 && p.verticals <= 1))
    fail(ErrorKind::kUsage, "the pattern of prompts (prefill) has verticals '{}', expected a share from 0 to 1",
         value.substr(0, 40));
}

size_t least_budget(const PromptPattern& p) {
  if (p.kind == PatternKind::kBlocks) return 2 * PromptPattern::kQueryBlock;
  return p.sinks + (p.kind == PatternKind::kAShape ? 1 : PromptPattern::kLocal);
}

}  // namespace

PromptPattern prompt_pattern_from(std::string_view text) {
  if (text == "dense") return {};
  const size_t colon = text.find(':'), comma = std::min(text.find(','), text.size());
  const PatternName* const named = pattern_named(text.substr(0, std::min(colon, comma)));
  if (!named)
    fail(ErrorKind::kUsage, "unknown pattern of prompts (prefill) '{}', expected dense, {}", text.substr(0, 80),
         prompt_pattern_help());
  PromptPattern pattern{.kind = named->kind};
  size_t budget = 0;
  if (colon == text.npos || colon > comma || !read_number(text.substr(colon + 1, comma - colon - 1), budget) ||
      budget > (size_t{1} << 30))
    fail(ErrorKind::kUsage,
         "the pattern of prompts (prefill) '{}' has no budget, expected {}:1024: so many keys of a query",
         text.substr(0, 80), named->name);
  pattern.budget = budget;
  for (size_t begin = comma; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin + 1), text.size());
    read_pattern_option(text.substr(begin + 1, end - begin - 1), pattern);
    begin = end;
  }
  if (const size_t least = least_budget(pattern); budget < least)
    fail(ErrorKind::kUsage, "the pattern of prompts (prefill) has a budget of {} keys, expected at least {}: {}",
         budget, least,
         pattern.kind == PatternKind::kBlocks ? "the first block of 64 and a query's own"
                                              : "its first tokens (sinks) and those before a query");
  return pattern;
}

std::string name_of(const PromptPattern& p) {
  switch (p.kind) {
    case PatternKind::kAShape: return fmt::format("a-shape:{},sinks={}", p.budget, p.sinks);
    case PatternKind::kVerticalSlash:
      return fmt::format("vertical-slash:{},sinks={},verticals={},queries={}", p.budget, p.sinks, p.verticals,
                         p.queries);
    case PatternKind::kBlocks: return fmt::format("blocks:{}", p.budget);
    case PatternKind::kDense: break;
  }
  return "dense";
}

bool is_prompt_pattern(std::string_view name) { return pattern_named(name) != nullptr || name == kNeurons; }

std::string prompt_pattern_help() { return "a-shape:1024, vertical-slash:1024, blocks:1024, neurons:0.5"; }

PromptPatterns prompt_patterns_from(std::string_view text) {
  const auto share_of = [](std::string_view value) {
    double share = 0;
    if (!read_number(value, share) || !(share > 0 && share <= 1))
      fail(ErrorKind::kUsage, "prompts (prefill) have neurons '{}', expected a share above 0 and up to 1",
           value.substr(0, 40));
    return std::vector{share};
  };
  if (text.starts_with(kNeurons) && text.substr(kNeurons.size()).starts_with(':')) {
    PromptPatterns all{PromptPattern()};
    all.set_neurons(share_of(text.substr(kNeurons.size() + 1)));
    return all;
  }
  constexpr std::string_view kOption = ",neurons=";
  const size_t at = text.find(kOption);
  if (at == text.npos) return PromptPatterns(prompt_pattern_from(text));
  const size_t begin = at + kOption.size(), end = std::min(text.find(',', begin), text.size());
  PromptPatterns all(prompt_pattern_from(std::string(text.substr(0, at)).append(text.substr(end))));
  all.set_neurons(share_of(text.substr(begin, end - begin)));
  return all;
}

double PromptPatterns::neurons(size_t layer) const {
  if (neurons_.empty()) return 1;
  return neurons_.size() == 1 ? neurons_[0] : neurons_.at(layer);
}

bool PromptPatterns::thins() const {
  return std::ranges::any_of(neurons_, [](double share) { return share < 1; });
}

const PromptPattern& PromptPatterns::at(size_t layer, size_t kv_head) const {
  static const PromptPattern kDense;
  if (heads_.empty()) return all_;
  if (layer >= heads_.size() || heads_[layer].empty()) return kDense;
  HUNCH_CHECK(kv_head < heads_[layer].size(), "patterns of {} heads, head {}", heads_[layer].size(), kv_head);
  return heads_[layer][kv_head];
}

bool PromptPatterns::chooses() const {
  if (thins()) return true;
  if (heads_.empty()) return all_.chooses();
  return std::ranges::any_of(heads_,
                             [](const auto& heads) { return std::ranges::any_of(heads, &PromptPattern::chooses); });
}

bool PromptPatterns::restricts(size_t layer, size_t n_kv_head, size_t n_tokens) const {
  for (size_t head = 0; head < n_kv_head; ++head) {
    const PromptPattern& p = at(layer, head);
    if (p.kind != PatternKind::kDense && n_tokens > p.budget) return true;
  }
  return false;
}

}  // namespace hunch
