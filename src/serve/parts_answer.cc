#include "serve/parts_answer.h"

#include <algorithm>

#include "text/json_depth.h"

namespace hunch::serve {

void PartsAnswer::add(const std::vector<ChatPart>& parts) {
  begin();
  for (const ChatPart& part : parts) {
    const bool is_more = part.kind == ChatPart::Kind::kArguments;
    if (!is_more && (!is_open_ || part.kind == ChatPart::Kind::kCall || blocks_.back().kind != part.kind)) {
      if (is_open_ && streams()) close(blocks_.back());
      blocks_.push_back({part.kind, {}, part.id, part.name});
      is_open_ = true;
      if (streams()) open(blocks_.back());
    }
    if (part.text.empty()) continue;
    blocks_.back().text += part.text;
    if (streams()) more(blocks_.back(), part.text);
  }
}

void PartsAnswer::take(size_t, const GeneratedToken& token, bool ends) {
  if (splitter_) {
    add(splitter_->push(token.text));
  } else if (!token.text.empty()) {
    add({{ChatPart::Kind::kContent, token.text}});
  }
  n_taken_ += !ends;
  if (!blocks_.empty() && blocks_[0].kind == ChatPart::Kind::kThinking && blocks_.size() == 1) n_thinking_ = n_taken_;
}

void PartsAnswer::finish(size_t, const JobResult& result) {
  if (splitter_) add(splitter_->finish());
  result_ = result;
  if (is_open_ && streams()) close(blocks_.back());
  is_open_ = false;
}

bool PartsAnswer::has_calls() const {
  return std::ranges::any_of(blocks_, [](const Block& b) { return b.kind == ChatPart::Kind::kCall; });
}

std::string PartsAnswer::text_of(ChatPart::Kind kind) const {
  std::string out;
  for (const Block& block : blocks_)
    if (block.kind == kind) out += block.text;
  return out;
}

Json arguments_json(const std::string& text) {
  if (json_depth(text) > kMaxJsonDepth) return {{"", text}};
  Json json = Json::parse(text.empty() ? "{}" : text, nullptr, false);
  return json.is_object() ? json : Json{{"", text}};
}

}  // namespace hunch::serve
