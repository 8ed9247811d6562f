// The named families. Patterns and names are facts of the published tokenizers: the patterns stand in
// their tokenizer.json files (Split, Digits, Punctuation and ByteLevel steps in order), the names in GGUF files.
#include <algorithm>

#include "base/error.h"
#include "io/printable.h"
#include "text/pre_tokenizer.h"

namespace hunch {

const std::string_view kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string_view kPunctuationSet = R"([\p{P}!-/:-@\[-`{-~])";

namespace {

// Words with one preceding sign, contractions in any case, `numbers`, signs with their line ends.
std::string cl100k_like(const std::string& numbers) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + numbers +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// Words that begin a new one at each capital after a small letter.
std::string o200k_like(const std::string& contractions, const std::string& numbers) {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  const std::string before = R"([^\r\n\p{L}\p{N}]?)";
  return before + upper + "*" + lower + "+" + contractions + "|" + before + upper + "+" + lower + "*" + contractions +
         "|" + numbers + R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

constexpr char kCase[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
constexpr char kDeepSeekCjk[] = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr char kDeepSeek3Cjk[] = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr char kDeepSeek3[] =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// The cased letters, as DeepSeek-LLM's file lists them.
constexpr char kDeepSeekLetters[] =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c})"
    R"(\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5})"
    R"(\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b})"
    R"(\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115})"
    R"(\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2})"
    R"(\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e})"
    R"(\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a})"
    R"(\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2})"
    R"(\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr char kBloom[] = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";

std::vector<PreTokenizerFamily> build_families() {
  const std::string gpt2(kGpt2Pattern), punctuation(kPunctuationSet);
  const std::vector<std::string> plain = {gpt2};
  const std::vector<std::string> digits_apart = {R"(\p{N})", gpt2};
  const std::vector<std::string> llama3 = {cl100k_like(R"(\p{N}{1,3})")};
  const std::vector<std::string> qwen2 = {cl100k_like(R"(\p{N})")};
  const std::vector<std::string> bloom = {kBloom};
  const std::vector<std::string> deepseek3 = {R"(\p{N}{1,3})", kDeepSeek3Cjk, kDeepSeek3};
  const std::vector<std::string> gpt4o = {o200k_like(kCase, R"(\p{N}{1,3})")};
  const std::vector<std::string> bailing = {
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"};
  // What GGUF files mean that were written before tokenizer.ggml.pre, or say "default".
  const std::vector<std::string> unnamed = {R"([\p{P}\$\+<=>\^~\|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"};

  std::vector<PreTokenizerFamily> all;
  const auto add = [&](std::initializer_list<std::string_view> names, const std::vector<std::string>& patterns,
                       bool ignore_merges = false, bool add_bos = false, bool nfc = false) {
    for (std::string_view name : names) all.push_back({name, patterns, ignore_merges, add_bos, nfc});
  };
  add({"gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "a.x-4.0", "mellum", "modern-bert", "exaone4", "trillion",
       "granite-docling", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code",
       "roberta-bpe"},
      plain);
  add({"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"}, digits_apart);
  // Falcon's digits are split off after the bytes have become characters: only ASCII ones are still digits.
  add({"falcon"}, {punctuation + "+", gpt2, "[0-9]+", "[0-9][0-9][0-9]"});
  add({"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"}, llama3, true, true);
  add({"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"}, llama3);
  add({"qwen2", "deepseek-r1-qwen", "megrez"}, qwen2, false, false, true);
  add({"stablelm2", "hunyuan", "grok-2", "solar-open"}, qwen2);
  add({"qwen35"},
      {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"},
      false, false, true);
  add({"deepseek-llm"}, {"[\r\n]", kDeepSeekLetters,
                         R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)",
                         R"(\s+$)", kDeepSeekCjk, R"(\p{N})"});
  add({"deepseek-coder"}, {"[\r\n]", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekCjk, R"(\p{N})"});
  add({"deepseek-v3", "hunyuan-dense", "joyai-llm"}, deepseek3);
  add({"tekken"}, {o200k_like("", R"(\p{N})")}, true, true);
  add({"gpt-4o", "llama4", "kanana2", "minimax-m2"}, gpt4o);
  add({"bloom", "poro-chat", "gpt3-finnish"}, bloom);
  add({"viking"}, {kBloom, R"(\p{N})"});
  add({"chameleon"},
      {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})", punctuation,
       gpt2},
      false, true);
  add({"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"});
  add({"bailingmoe", "bailingmoe2", "llada-moe"}, bailing);
  add({"seed-coder"},
      {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"});
  add({"exaone-moe"},
      {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"});
  add({"default"}, unnamed);
  return all;
}

const std::vector<PreTokenizerFamily>& families() {
  static const std::vector<PreTokenizerFamily> all = build_families();
  return all;
}

std::vector<std::string> canonical(std::span<const std::string> patterns) {
  std::vector<std::string> out;
  for (const std::string& pattern : patterns) out.push_back(to_pcre2_syntax(pattern));
  return out;
}

}  // namespace

const PreTokenizerFamily& pre_tokenizer_family(std::string_view name) {
  if (name.empty()) name = "gpt-2";
  std::string known;
  for (const PreTokenizerFamily& family : families()) {
    if (family.name == name) return family;
    known += known.empty() ? "" : ", ";
    known += family.name;
  }
  fail(ErrorKind::kUnsupported, "unknown pre-tokeniser '{}' (tokenizer.ggml.pre); known are: {}", printable(name),
       known);
}

const PreTokenizerFamily* find_pre_tokenizer_family(std::span<const std::string> patterns, bool ignore_merges,
                                                    bool nfc) {
  const std::vector<std::string> wanted = canonical(patterns);
  const PreTokenizerFamily* found = nullptr;
  for (const PreTokenizerFamily& family : families()) {
    if (family.patterns.size() != patterns.size() || canonical(family.patterns) != wanted) continue;
    if (family.ignore_merges == ignore_merges && family.nfc == nfc) return &family;
    if (!found) found = &family;
  }
  return found;
}

}  // namespace hunch
