#include "cli/parse.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>

#include "base/error.h"
#include "compress/input_moments.h"
#include "io/printable.h"
#include "select/key_policies.h"
#include "select/prompt_pattern.h"

namespace hunch::cli {
namespace {

// Splits at commas and white space; surrounding brackets are dropped.
std::vector<std::string_view> split(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  std::vector<std::string_view> words;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find_first_of(", \n\t\r", i), text.size());
    if (end > i) words.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return words;
}

template <class T>
T parse_with(std::string_view text, std::string_view what, const char* expected) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) fail(ErrorKind::kUsage, "{}: '{}' is too large", what, printable(text));
  if (error != std::errc() || end != text.data() + text.size())
    fail(ErrorKind::kUsage, "{}: expected {}, found '{}'", what, expected, printable(text));
  return value;
}

// Insertions, deletions, substitutions and swaps of neighbours ("evla" for "eval") that lead from a to b: optimal
// string alignment, Damerau 1964.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before, last, row(b.size() + 1);  // rows i - 2, i - 1 and i of the table
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before = std::exchange(last, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

uint64_t parse_count(std::string_view text, std::string_view what) {
  return parse_with<uint64_t>(text, what, "a whole number");
}

int64_t parse_integer(std::string_view text, std::string_view what) {
  return parse_with<int64_t>(text, what, "a whole number");
}

double parse_real(std::string_view text, std::string_view what) {
  const double value = parse_with<double>(text, what, "a number");
  if (std::isnan(value)) fail(ErrorKind::kUsage, "{}: expected a number, found '{}'", what, text);
  return value;
}

double parse_share(std::string_view text, std::string_view what, bool may_exceed) {
  const bool percent = text.ends_with('%');
  std::string_view number = text.substr(0, text.size() - percent);
  while (percent && number.ends_with(' ')) number.remove_suffix(1);
  const double value = parse_real(number, what) / (percent ? 100 : 1);
  if (value > 1 && !may_exceed)
    fail(ErrorKind::kUsage, "{}: {} is {:g} times the whole; a share is written as 0.05 or 5%{}", what, printable(text),
         value,
         !percent && value <= 100 ? fmt::format(", this one perhaps as {0:g}% or {1:g}", value, value / 100) : "");
  return value;
}

double parse_bytes(std::string_view text, std::string_view what) {
  constexpr std::string_view kUnits = "KMGT";
  std::string_view number = text;
  if (number.ends_with('B') || number.ends_with('b')) number.remove_suffix(1);
  double unit = 1;
  if (!number.empty())
    if (const size_t at = kUnits.find(char(std::toupper(static_cast<unsigned char>(number.back()))));
        at != kUnits.npos) {
      unit = std::pow(1000.0, double(at + 1));
      number.remove_suffix(1);
    }
  const double bytes = parse_with<double>(number, what, "a size as 8G or 512M") * unit;
  if (!(bytes >= 1) || !std::isfinite(bytes))
    fail(ErrorKind::kUsage, "{}: expected a size as 8G or 512M, found '{}'", what, printable(text));
  return bytes;
}

std::vector<int32_t> parse_ids(std::string_view text, std::string_view what) {
  std::vector<int32_t> ids;
  for (std::string_view word : split(text)) ids.push_back(parse_with<int32_t>(word, what, "token ids like 1,2,3"));
  if (ids.empty()) fail(ErrorKind::kUsage, "{}: expected token ids like 1,2,3, found none", what);
  return ids;
}

std::vector<size_t> parse_counts(std::string_view text, std::string_view what) {
  std::vector<size_t> counts;
  for (std::string_view word : split(text)) counts.push_back(parse_count(word, what));
  return counts;
}

AdapterSource parse_adapter(const std::string& text) {
  std::error_code ec;
  const size_t colon = text.rfind(':');
  if (colon == text.npos || std::filesystem::exists(text, ec)) return {text};
  const double scale = parse_real(std::string_view(text).substr(colon + 1), "--lora PATH:SCALE");
  if (!std::isfinite(float(scale)))
    fail(ErrorKind::kUsage, "--lora: the scale of '{}' is no finite number", printable(text));
  return {text.substr(0, colon), float(scale)};
}

std::map<int32_t, float> parse_logit_bias(std::span<const std::string> items) {
  std::map<int32_t, float> bias;
  for (const std::string& item : items) {
    // ID=BIAS, or ID+1 and ID-1 as llama.cpp writes it: there the sign is part of the number.
    const size_t equals = item.find('='), sign = item.find_first_of("+-", 1);
    if (equals == item.npos && sign != item.npos && sign + 1 < item.size()) {
      const double value = parse_real(std::string_view(item).substr(sign + 1), "--logit-bias");
      const auto id =
          parse_with<int32_t>(std::string_view(item).substr(0, sign), "--logit-bias", "a token id before the sign");
      bias[id] = float(item[sign] == '-' ? -value : value);
      continue;
    }
    if (equals == item.npos) fail(ErrorKind::kUsage, "--logit-bias: expected ID=BIAS, found '{}'", printable(item));
    const auto id =
        parse_with<int32_t>(std::string_view(item).substr(0, equals), "--logit-bias", "a token id before '='");
    bias[id] = float(parse_real(std::string_view(item).substr(equals + 1), "--logit-bias"));
  }
  return bias;
}

namespace {

// That of a mode: "0.05" or "5%".
double density_of(std::string_view text, std::string_view word, std::string_view what) {
  const double share = parse_share(text, what);
  if (!(share > 0 && share <= 1))
    fail(ErrorKind::kUsage, "--compare: the density of '{}' must be more than 0 and at most 1", printable(word));
  return share;
}

// "PATH.hunch" or "PATH.hunch@DENSITY"; false: it is neither.
bool parse_sidecar(std::string_view word, CompareMode& mode) {
  const size_t at = word.rfind(".hunch@"), end = word.ends_with(".hunch") ? word.size() : at == word.npos ? at : at + 6;
  if (end == word.npos) return false;
  mode.context.mode = "sparse";
  mode.sidecar = word.substr(0, end);
  if (end < word.size())
    mode.context.density = density_of(word.substr(end + 1), word, "--compare SIDECAR.hunch@DENSITY");
  return true;
}

// A file of GGUF or a folder: another model, whose weights are all read.
bool parse_model(std::string_view word, CompareMode& mode) {
  std::error_code ec;
  const bool folder = word.find('/') != word.npos && std::filesystem::is_directory(word, ec);
  if (!folder && !word.ends_with(".gguf")) return false;
  mode.context.mode = "dense";
  mode.model = word;
  return true;
}

// "q4_0-rot", "h2o:64" or "h2o:64+q4_0": how keys and values are cached, computed as without a mode named; false: it is
// none of these.
bool parse_cache(std::string_view word, const ContextOptions& base, CompareMode& mode) {
  const size_t plus = word.find('+');
  const std::string_view policy = word.substr(0, plus);
  if (const auto type = kv_type_from_name(policy); type && plus == word.npos) {
    mode.context.kv_type = *type;
    return true;
  }
  const size_t colon = policy.find(':');
  if (colon == policy.npos || !is_key_policy(policy.substr(0, colon))) return false;
  if (base.keys)
    fail(ErrorKind::kUsage, "--compare names key policies itself, as in '{}'; leave out --kv-policy", printable(word));
  mode.context.keys = key_policy_from(policy);
  if (plus == word.npos) return true;
  const auto type = kv_type_from_name(word.substr(plus + 1));
  if (!type)
    fail(ErrorKind::kUsage, "--compare: '{}' is no type of the KV cache; possible: {}",
         printable(word.substr(plus + 1)), fmt::join(kv_type_names(), ", "));
  mode.context.kv_type = *type;
  return true;
}

// "vertical-slash:1024" or "prefill", those of the sidecar; false: it is neither.
bool parse_prefill(std::string_view word, const ContextOptions& base, CompareMode& mode) {
  const bool of_sidecar = word == "prefill", named = is_prompt_pattern(word.substr(0, word.find(':')));
  if (!of_sidecar && !named) return false;
  if (!base.prefill.empty())
    fail(ErrorKind::kUsage, "--compare names patterns of prompts itself, as in '{}'; leave out --prefill",
         printable(word));
  mode.context.prefill = of_sidecar ? "sidecar" : std::string(word);
  if (named) prompt_patterns_from(word);  // may throw
  return true;
}

}  // namespace

std::vector<std::string> split_modes(std::string_view text) {
  std::vector<std::string> words;
  for (const std::string_view word : split(text)) {
    if (!words.empty() && word.find('=') != word.npos && words.back().find(':') != words.back().npos) {
      words.back() += fmt::format(",{}", word);
    } else {
      words.emplace_back(word);
    }
  }
  return words;
}

std::vector<double> parse_shares(std::string_view text, std::string_view what) {
  std::vector<double> shares;
  for (const std::string_view word : split(text)) shares.push_back(parse_share(word, what));
  if (shares.empty()) fail(ErrorKind::kUsage, "{}: expected shares like 0,0.5,1, found none", what);
  return shares;
}

std::vector<CompareMode> parse_modes(std::string_view text, const ContextOptions& base) {
  // What the environment says is a default, which this overrides; what the command line says would be ignored.
  const char *usual_mode = std::getenv("HUNCH_MODE"), *usual_density = std::getenv("HUNCH_DENSITY");
  const bool names_mode = base.mode != "exact" && !(usual_mode && base.mode == usual_mode);
  if (names_mode || base.has_oracle())
    fail(ErrorKind::kUsage, "--compare names its modes itself, as in dense,sparse,oracle:0.2; leave out {}",
         base.has_oracle() ? "--oracle-density and --oracle-heads" : "--mode " + base.mode);
  std::vector<CompareMode> modes;
  for (const std::string_view word : split_modes(text)) {
    CompareMode mode{std::string(word), base};
    mode.context.oracle_density = mode.context.oracle_head_density = 1;
    mode.context.density = 0;
    if (word == "dense") {
      mode.context.mode = "dense";
    } else if (word == "exact") {
      mode.context.mode = "exact";
    } else if (word == "sparse" || word.starts_with("sparse:")) {
      mode.context.mode = "sparse";
      mode.context.density = base.density;
      if (word.size() > 6) mode.context.density = density_of(word.substr(7), word, "--compare sparse:DENSITY");
    } else if (word == "lossless") {
      mode.context.mode = "exact";
      mode.lossless = true;
    } else if (word.starts_with("oracle:")) {
      mode.context.mode = "exact";
      const std::string_view densities = word.substr(7);
      const size_t colon = densities.find(':');
      const double neurons = parse_share(densities.substr(0, colon), "--compare oracle:DENSITY");
      const double heads = colon == densities.npos
                               ? neurons
                               : parse_share(densities.substr(colon + 1), "--compare oracle:NEURONS:HEADS");
      for (double density : {neurons, heads})
        if (!(density > 0 && density <= 1))
          fail(ErrorKind::kUsage, "--compare: the densities of '{}' must be more than 0 and at most 1", word);
      mode.context.oracle_density = neurons;
      mode.context.oracle_head_density = heads;
    } else if (!parse_sidecar(word, mode) && !parse_model(word, mode) && !parse_cache(word, base, mode) &&
               !parse_prefill(word, base, mode)) {
      fail(ErrorKind::kUsage,
           "--compare: unknown mode '{}'; possible: dense, exact, lossless, sparse, sparse:DENSITY (e.g. sparse:0.2), "
           "oracle:DENSITY, oracle:NEURONS:HEADS, SIDECAR.hunch, SIDECAR.hunch@DENSITY, MODEL.gguf, a model's FOLDER/, "
           "a "
           "type of the KV cache (q4_0-rot), a key policy (h2o:64), both (h2o:64+q4_0), a pattern of prompts "
           "(vertical-slash:1024; prefill: the sidecar's)",
           printable(word));
    }
    for (const CompareMode& other : modes)
      if (other.name == mode.name) fail(ErrorKind::kUsage, "--compare: '{}' is named twice", word);
    modes.push_back(std::move(mode));
  }
  if (base.density != 0 && !usual_density &&
      std::ranges::none_of(modes, [](const CompareMode& m) { return m.name == "sparse"; }))
    fail(ErrorKind::kUsage, "--density {:g} is that of sparse, which --compare does not name", base.density);
  if (modes.empty()) fail(ErrorKind::kUsage, "--compare: expected modes like dense,exact,oracle:0.2, found none");
  return modes;
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates)
    if (const size_t distance = edit_distance(word, candidate); distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  return best;
}

std::string suggestion(std::string_view word, std::span<const std::string> candidates) {
  const std::string best = nearest(word, candidates);
  return best.empty() ? "" : fmt::format("; did you mean '{}'?", best);
}

NumaPolicy numa_policy(const std::string& text, bool several_ranks) {
  if (text == "off") return NumaPolicy::kOff;
  if (text == "auto") return several_ranks ? NumaPolicy::kOff : NumaPolicy::kDistribute;  // of one node: nothing
  if (text == "distribute" || text == "numactl") return NumaPolicy::kDistribute;
  if (text == "isolate") return NumaPolicy::kIsolate;
  if (text != "ranks")
    fail(ErrorKind::kUsage, "--numa: expected off, auto, distribute, isolate, numactl or ranks, found '{}'",
         printable(text));
  if (!several_ranks)
    fail(ErrorKind::kUsage,
         "--numa ranks is for several processes, each on a node of its own: `mpirun -n NODES hunch ...` "
         "(docs/scale.md)");
  return NumaPolicy::kRanks;
}

std::vector<Role> parse_roles(std::string_view text, std::string_view what) {
  std::vector<Role> roles;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string word(text.substr(begin, end - begin));
    size_t r = 0;
    while (r < kNumRoles && (word != name_of(Role(r)) || !InputMoments::covers(Role(r)))) ++r;
    if (r == kNumRoles)
      fail(ErrorKind::kUsage, "{}: '{}' is none of q, k, v, o, gate, up, down", what, printable(word));
    roles.push_back(Role(r));
    begin = end + 1;
  }
  return roles;
}

}  // namespace hunch::cli
