#include "text/tool_calls.h"

#include <algorithm>

namespace hunch {
namespace {

using PartKind = ToolPart::Kind;

constexpr std::string_view kSpaces = " \n\t\r";

constexpr size_t kMostHeld = 1 << 20;  // bytes of what may still turn out to be no call

bool is_space(char c) { return kSpaces.find(c) != kSpaces.npos; }

}  // namespace

std::vector<ToolPart> ToolCallSplitter::push(std::string_view text) {
  std::vector<ToolPart> out;
  if (!tools_ || tools_->empty()) {
    add_part(out, PartKind::kText, text);
    return out;
  }
  for (const char c : text) step(c, out);
  return out;
}

std::vector<ToolPart> ToolCallSplitter::finish() {
  std::vector<ToolPart> out;
  // An object that is no call may hold the beginnings of others: they are tried in turn.
  while (is_open_ || in_list_ || reader_) give_back(out);
  if (!(is_behind_ && held_.find_first_not_of(kSpaces) == held_.npos)) add_part(out, PartKind::kText, held_);
  held_.clear();
  return out;
}

void ToolCallSplitter::step(char c, std::vector<ToolPart>& out) {
  if (reader_) {
    read(c, out);
  } else if (in_list_) {
    in_list(c, out);
  } else if (is_open_) {
    raw_ += c;
    if (is_space(c)) return;
    const bool is_json = syntax_.form == CallForm::kJson || syntax_.form == CallForm::kEither;
    if (is_json && c == '[') {
      is_open_ = false;
      in_list_ = true;
      return;
    }
    is_open_ = false;
    const bool named = syntax_.form != CallForm::kJson && !(syntax_.form == CallForm::kEither && c == '{');
    const bool known_only = std::ranges::find(syntax_.first, mark_) != syntax_.first.end();
    if (syntax_.form == CallForm::kTagged) {
      reader_ = tagged_call_reader(syntax_, mark_, *tools_);
    } else if (syntax_.form == CallForm::kBraced) {
      reader_ = braced_call_reader(syntax_);
    } else {
      reader_ = named ? named_call_reader(syntax_) : json_call_reader(*tools_, known_only);
    }
    raw_.pop_back();
    read(c, out);
  } else {
    held_ += c;
    in_text(out);
  }
}

// Decides as much as it can of what is held.
void ToolCallSplitter::in_text(std::vector<ToolPart>& out) {
  while (!held_.empty()) {
    const size_t n_space = std::min(held_.find_first_not_of(kSpaces), held_.size());
    const std::string_view rest = std::string_view(held_).substr(n_space);
    if (rest.empty()) return;
    bool waits = false;
    const auto mark_in = [&](const std::vector<std::string_view>& marks) {
      for (const std::string_view mark : marks) {
        if (rest == mark) return mark;
        waits = waits || mark.starts_with(rest);
      }
      return std::string_view();
    };
    std::string_view mark = mark_in(syntax_.begin);
    if (mark.empty() && is_first_) mark = mark_in(syntax_.first);
    if (!mark.empty()) return begin(mark);
    mark = mark_in(syntax_.skipped);
    if (mark.empty() && is_behind_) mark = mark_in(syntax_.behind);
    if (!mark.empty()) {
      held_.clear();
      return;
    }
    if (waits) return;
    // Space behind a call is dropped, other space is text once text follows.
    add_part(out, PartKind::kText,
             std::string_view(held_).substr(is_behind_ ? n_space : 0, is_behind_ ? 1 : n_space + 1));
    held_.erase(0, n_space + 1);
    is_first_ = is_behind_ = false;
  }
}

void ToolCallSplitter::begin(std::string_view mark) {
  mark_ = mark;
  raw_ = held_;
  held_.clear();
  is_told_ = false;
  is_open_ = true;
  if (mark != "{") return;
  // The mark is part of the object.
  is_open_ = false;
  reader_ = json_call_reader(*tools_, true);
  std::vector<ToolPart> nothing;
  reader_->step('{', nothing);
}

void ToolCallSplitter::in_list(char c, std::vector<ToolPart>& out) {
  raw_ += c;
  if (is_space(c) || c == ',') return;
  if (c == ']') {
    in_list_ = false;
    if (is_told_) {
      raw_.clear();
      is_behind_ = true;
      return;
    }
    return give_back(out);
  }
  if (c != '{') return give_back(out);
  raw_.pop_back();
  if (is_told_) raw_.clear();
  is_told_ = false;
  reader_ = json_call_reader(*tools_, false);
  read(c, out);
}

void ToolCallSplitter::read(char c, std::vector<ToolPart>& out) {
  const size_t n = out.size();
  const bool has_call = n && out.back().kind != PartKind::kText;
  const size_t n_last = has_call ? out.back().text.size() : 0;
  raw_ += c;
  const CallReader::State state = reader_->step(c, out);
  is_told_ = is_told_ || out.size() > n || (has_call && out.back().text.size() > n_last);
  if (is_told_) raw_.clear();
  if (state == CallReader::State::kMore && raw_.size() < kMostHeld) return;
  if (state != CallReader::State::kDone) return give_back(out);
  reader_.reset();
  is_behind_ = is_first_ = true;
}

// The present call is none, or broken off: what of it was not handed out is text, but for its first byte, which began
// it.
void ToolCallSplitter::give_back(std::vector<ToolPart>& out) {
  const std::string raw = std::exchange(raw_, {});
  const bool told = std::exchange(is_told_, false);
  reader_.reset();
  in_list_ = is_open_ = false;
  if (told) {
    is_behind_ = true;
    return;
  }
  if (raw.empty()) return;
  const size_t n_space = std::min(raw.find_first_not_of(kSpaces), raw.size());
  const size_t n = std::min(raw.size(), n_space + mark_.size());
  add_part(out, PartKind::kText, std::string_view(raw).substr(is_behind_ ? n_space : 0, is_behind_ ? n - n_space : n));
  is_first_ = is_behind_ = false;
  for (const char c : raw.substr(n)) step(c, out);
}

}  // namespace hunch
