#include "text/vocab_merges.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "io/printable.h"
#include "text/json_number.h"

namespace hunch {
namespace {

void read_vocab(std::string_view bytes, TokenizerSpec& spec) {
  const nlohmann::json vocab = nlohmann::json::parse(bytes);
  if (!vocab.is_object()) fail(ErrorKind::kFormat, "vocab.json: expected an object of pieces and ids");
  const size_t limit = 2 * vocab.size() + 4096;
  for (const auto& [piece, value] : vocab.items()) {
    const auto id = json_integer(value, "vocab.json");
    if (id < 0 || static_cast<uint64_t>(id) >= limit) {
      fail(ErrorKind::kFormat, "vocab.json: '{}' has the id {} in a vocabulary of {}", printable(piece), id,
           vocab.size());
    }
    const auto i = static_cast<size_t>(id);
    if (i >= spec.pieces.size()) {
      spec.pieces.resize(i + 1);
      spec.types.resize(i + 1, TokenType::kUnused);
    }
    spec.pieces[i] = piece;
    spec.types[i] = TokenType::kNormal;
  }
  for (size_t i = 0; i < spec.pieces.size(); ++i) {
    if (spec.types[i] == TokenType::kUnused) spec.pieces[i] = fmt::format("[PAD{}]", i);
  }
}

}  // namespace

TokenizerSpec parse_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt) {
  TokenizerSpec spec;
  spec.kind = TokenizerKind::kByteBpe;
  try {
    read_vocab(vocab_json, spec);
  } catch (const nlohmann::json::exception& e) {
    fail(ErrorKind::kFormat, "vocab.json: {}", printable(e.what(), 300));
  }
  for (bool first = true; !merges_txt.empty(); first = false) {
    const size_t end = std::min(merges_txt.find('\n'), merges_txt.size());
    std::string_view line = merges_txt.substr(0, end);
    merges_txt.remove_prefix(std::min(end + 1, merges_txt.size()));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (first && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == line.size()) {
      fail(ErrorKind::kFormat, "merges.txt: expected two pieces and a space between, found '{}'", printable(line));
    }
    spec.merges.emplace_back(line);
  }
  return spec;
}

}  // namespace hunch
