#include "text/pre_tokenizer.h"

namespace hunch {

PreTokenizer::PreTokenizer(std::span<const std::string> patterns) {
  for (const std::string& pattern : patterns) regexes_.emplace_back(pattern);
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  std::vector<std::string_view> words, next;
  if (!text.empty()) words.push_back(text);
  for (const Regex& regex : regexes_) {
    next.clear();
    for (std::string_view word : words) regex.split(word, next);
    words.swap(next);
  }
  return words;
}

}  // namespace hunch
