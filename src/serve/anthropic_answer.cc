#include "serve/anthropic_answer.h"

#include <algorithm>

#include "serve/sse.h"

namespace hunch::serve {
namespace {

using Part = ChatPart::Kind;

}  // namespace

AnthropicAnswer::AnthropicAnswer(std::shared_ptr<Reply> reply, bool stream, std::optional<ChatSplitter> splitter,
                                 std::string id, std::string model, std::vector<std::string> stops)
    : PartsAnswer(std::move(reply), Dialect::kAnthropic, stream, std::move(splitter)),
      id_(std::move(id)),
      model_(std::move(model)),
      stops_(std::move(stops)) {}

Json AnthropicAnswer::message() const {
  return {{"id", id_},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model_},
          {"content", Json::array()},
          {"stop_reason", nullptr},
          {"stop_sequence", nullptr},
          {"usage", usage_json()}};
}

// As Anthropic counts: what was remembered is not among input_tokens.
Json AnthropicAnswer::usage_json() const {
  return {{"input_tokens", usage().n_prompt - std::min(usage().n_cached, usage().n_prompt)},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage().n_cached},
          {"output_tokens", usage().n_generated}};
}

Json AnthropicAnswer::stop_fields() const {
  const Generated& g = result().generated;
  const bool by_request =
      g.stop_reason == StopReason::kStopString && std::ranges::find(stops_, g.stop_string) != stops_.end();
  const char* reason = by_request ? "stop_sequence" : is_cut() ? "max_tokens" : has_calls() ? "tool_use" : "end_turn";
  return {{"stop_reason", reason}, {"stop_sequence", by_request ? Json(g.stop_string) : Json(nullptr)}};
}

void AnthropicAnswer::event(const char* type, Json fields) {
  Json json = {{"type", type}};
  json.update(fields);
  write(sse_event(type, json));
}

void AnthropicAnswer::wait() {
  begin();
  if (blocks().empty()) event("ping", Json::object());
}

void AnthropicAnswer::begin_stream() {
  event("message_start", {{"message", message()}});
  event("ping", Json::object());
}

void AnthropicAnswer::open(const Block& block) {
  Json json;
  switch (block.kind) {
    case Part::kThinking: json = {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}; break;
    case Part::kCall:
      json = {{"type", "tool_use"}, {"id", block.id}, {"name", block.name}, {"input", Json::object()}};
      break;
    default: json = {{"type", "text"}, {"text", ""}};
  }
  event("content_block_start", {{"index", index()}, {"content_block", std::move(json)}});
}

void AnthropicAnswer::more(const Block& block, const std::string& text) {
  Json delta;
  switch (block.kind) {
    case Part::kThinking: delta = {{"type", "thinking_delta"}, {"thinking", text}}; break;
    case Part::kCall: delta = {{"type", "input_json_delta"}, {"partial_json", text}}; break;
    default: delta = {{"type", "text_delta"}, {"text", text}};
  }
  event("content_block_delta", {{"index", index()}, {"delta", std::move(delta)}});
}

void AnthropicAnswer::close(const Block&) { event("content_block_stop", {{"index", index()}}); }

void AnthropicAnswer::end() {
  if (streams()) {
    event("message_delta", {{"delta", stop_fields()}, {"usage", usage_json()}});
    return event("message_stop", Json::object());
  }
  Json json = message();
  for (const Block& block : blocks()) {
    switch (block.kind) {
      case Part::kThinking:
        json["content"].push_back({{"type", "thinking"}, {"thinking", block.text}, {"signature", ""}});
        break;
      case Part::kCall:
        json["content"].push_back(
            {{"type", "tool_use"}, {"id", block.id}, {"name", block.name}, {"input", arguments_json(block.text)}});
        break;
      default: json["content"].push_back({{"type", "text"}, {"text", block.text}});
    }
  }
  json.update(stop_fields());
  send(json);
}

std::string AnthropicAnswer::error_event(const RequestError& error) const {
  return sse_event("error", error_json(error, Dialect::kAnthropic));
}

}  // namespace hunch::serve
