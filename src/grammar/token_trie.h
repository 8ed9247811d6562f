// The tokens of a vocabulary by their bytes, in the order of a walk through the tree of their beginnings. Immutable.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace hunch::grammar {

// A control token has no text that a grammar could match; one that a grammar names is written as this: a byte that no
// UTF-8 has, and its id.
std::string control_bytes(int32_t id);
// How a text is written in tokens, control tokens as such: what a grammar's literal of it is.
std::string literal_bytes(const Tokenizer& tokenizer, std::string_view text);

class TokenTrie {
 public:
  struct Node {
    uint32_t end;          // the nodes below follow it, up to this one
    uint32_t first_token;  // of tokens(); those of the next node follow
    uint8_t byte, depth;   // depth 1: below the root
  };

  // Of the tokens of a tokenizer. Unused and unknown ones, those without bytes and those of more than 255 have no place
  // in it: they never match. It keeps the tokenizer's bytes.
  explicit TokenTrie(const Tokenizer& tokenizer);
  // Of any bytes; an empty one never matches. `ends` are the tokens that end a text.
  TokenTrie(std::vector<std::string> bytes, std::vector<int32_t> ends);

  size_t n_tokens() const { return bytes_.size(); }
  size_t n_nodes() const { return nodes_.size() - 1; }
  const Node& node(size_t i) const { return nodes_[i]; }              // node(n_nodes()) ends the list
  std::span<const int32_t> tokens(size_t first, size_t last) const {  // of the nodes [first, last)
    return std::span(ids_).subspan(nodes_[first].first_token, nodes_[last].first_token - nodes_[first].first_token);
  }
  std::string_view bytes(int32_t id) const { return bytes_[size_t(id)]; }
  std::span<const int32_t> ends() const { return ends_; }
  bool is_end(int32_t id) const { return is_end_[size_t(id)]; }
  size_t longest() const { return longest_; }  // bytes

 private:
  void build();

  std::vector<std::string> bytes_;  // [n_tokens]
  std::vector<int32_t> ends_;
  std::vector<bool> is_end_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;  // by bytes
  size_t longest_ = 0;
};

}  // namespace hunch::grammar
