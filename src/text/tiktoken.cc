#include "text/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "base/error.h"
#include "io/printable.h"
#include "text/base64.h"
#include "text/byte_alphabet.h"

namespace hunch {
namespace {

constexpr size_t kMaxTokenBytes = 1024;  // real ones have at most 128

struct Line {
  std::string token;
  uint32_t rank = 0;
};

std::optional<Line> parse_line(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0) return std::nullopt;
  std::optional<std::string> token = decode_base64(line.substr(0, space));
  if (!token || token->empty() || token->size() > kMaxTokenBytes) return std::nullopt;
  Line out{std::move(*token), 0};
  const char* end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data() + space + 1, end, out.rank);
  if (error != std::errc() || stop != end) return std::nullopt;
  return out;
}

std::string_view take_line(std::string_view& bytes) {
  const size_t end = std::min(bytes.find('\n'), bytes.size());
  std::string_view line = bytes.substr(0, end);
  bytes.remove_prefix(std::min(end + 1, bytes.size()));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

// Every split of a token into two tokens is a merge; the rank of a merge is the rank of what it makes.
std::vector<std::string> merges_of(const std::vector<std::string>& tokens) {
  std::unordered_map<std::string_view, uint32_t> rank_of;
  for (size_t i = 0; i < tokens.size(); ++i) rank_of.emplace(tokens[i], static_cast<uint32_t>(i));
  std::vector<std::string> merges;
  std::vector<std::pair<uint32_t, uint32_t>> ways;
  for (const std::string& token : tokens) {
    ways.clear();
    for (size_t at = 1; at < token.size(); ++at) {
      const auto left = rank_of.find(std::string_view(token).substr(0, at));
      const auto right = rank_of.find(std::string_view(token).substr(at));
      if (left != rank_of.end() && right != rank_of.end()) ways.emplace_back(left->second, right->second);
    }
    std::ranges::sort(ways);
    for (const auto& [left, right] : ways) {
      merges.push_back(to_byte_alphabet(tokens[left]) + " " + to_byte_alphabet(tokens[right]));
    }
  }
  return merges;
}

constexpr size_t kLlama3Ranks = 128000;

// Llama 3.1's names; Llama 3.0 has reserved tokens where 3.1 has <|finetune_right_pad_id|>, <|eom_id|> and
// <|python_tag|>.
void add_llama3_tokens(TokenizerSpec& spec) {
  std::vector<std::string> names = {"<|begin_of_text|>",
                                    "<|end_of_text|>",
                                    "<|reserved_special_token_0|>",
                                    "<|reserved_special_token_1|>",
                                    "<|finetune_right_pad_id|>",
                                    "<|reserved_special_token_2|>",
                                    "<|start_header_id|>",
                                    "<|end_header_id|>",
                                    "<|eom_id|>",
                                    "<|eot_id|>",
                                    "<|python_tag|>"};
  for (int i = 3; names.size() < 256; ++i) names.push_back(fmt::format("<|reserved_special_token_{}|>", i));
  for (const std::string& name : names) {
    spec.pieces.push_back(name);
    spec.types.push_back(TokenType::kControl);
  }
  spec.bos = 128000;
  spec.eos = 128001;
  spec.eot = 128009;
  spec.extra_eog = {128008};
  spec.add_bos = true;
}

}  // namespace

bool is_tiktoken(std::string_view bytes) {
  const std::string_view line = take_line(bytes);
  return line.size() < 1024 && parse_line(line).has_value();
}

TokenizerSpec parse_tiktoken(std::string_view bytes) {
  std::vector<Line> lines;
  while (!bytes.empty()) {
    const std::string_view text = take_line(bytes);
    if (text.empty()) continue;
    std::optional<Line> line = parse_line(text);
    if (!line) {
      fail(ErrorKind::kFormat, "tiktoken ranks, entry {}: expected 'base64 rank', found '{}'", lines.size(),
           printable(text));
    }
    lines.push_back(std::move(*line));
  }
  std::vector<std::string> tokens(lines.size());
  for (Line& line : lines) {
    if (line.rank >= tokens.size() || !tokens[line.rank].empty()) {
      fail(ErrorKind::kFormat, "tiktoken ranks: {} entries, but rank {} is {}", tokens.size(), line.rank,
           line.rank >= tokens.size() ? "among them" : "there twice");
    }
    tokens[line.rank] = std::move(line.token);
  }
  if (tokens.empty()) fail(ErrorKind::kFormat, "tiktoken ranks: the file is empty");
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kByteBpe;
  spec.pre = "llama-bpe";
  spec.ignore_merges = true;
  spec.merges = merges_of(tokens);
  for (const std::string& token : tokens) spec.pieces.push_back(to_byte_alphabet(token));
  spec.types.assign(tokens.size(), TokenType::kNormal);
  if (tokens.size() == kLlama3Ranks) add_llama3_tokens(spec);
  return spec;
}

}  // namespace hunch
