#include "serve/responses_answer.h"

#include "serve/conversation.h"
#include "serve/sse.h"

namespace hunch::serve {
namespace {

using Part = ChatPart::Kind;

Json part_of(Part kind, const std::string& text) {
  if (kind == Part::kThinking) return {{"type", "reasoning_text"}, {"text", text}};
  return {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}};
}

}  // namespace

ResponsesAnswer::ResponsesAnswer(std::shared_ptr<Reply> reply, About about, std::optional<ChatSplitter> splitter)
    : PartsAnswer(std::move(reply), Dialect::kOpenAi, about.stream, std::move(splitter)), about_(std::move(about)) {}

std::string ResponsesAnswer::event(const char* type, Json fields) const {
  Json json = {{"type", type}, {"sequence_number", n_events_++}};
  json.update(fields);
  return sse_event(type, json);
}

Json ResponsesAnswer::item(const Block& block, size_t i, const char* status) const {
  const std::string id = fmt::format("{}_{}_{}",
                                     block.kind == Part::kThinking ? "rs"
                                     : block.kind == Part::kCall   ? "fc"
                                                                   : "msg",
                                     about_.id.substr(about_.id.find('_') + 1), i);
  const bool has_begun = std::string_view(status) == "in_progress";
  Json content = has_begun ? Json::array() : Json::array({part_of(block.kind, block.text)});
  switch (block.kind) {
    case Part::kThinking:
      return {{"id", id}, {"type", "reasoning"}, {"status", status}, {"summary", Json::array()}, {"content", content}};
    case Part::kCall:
      return {{"id", id},           {"type", "function_call"},
              {"status", status},   {"call_id", block.id},
              {"name", block.name}, {"arguments", has_begun ? "" : block.text}};
    default: return {{"id", id}, {"type", "message"}, {"status", status}, {"role", "assistant"}, {"content", content}};
  }
}

Json ResponsesAnswer::place(const Block& block) const {
  const size_t i = blocks().size() - 1;
  Json json = {{"item_id", item(block, i, "in_progress")["id"]}, {"output_index", i}};
  if (block.kind != Part::kCall) json["content_index"] = 0;
  return json;
}

Json ResponsesAnswer::response(const char* status) const {
  const bool is_over = std::string_view(status) != "in_progress";
  Json json = {
      {"id", about_.id},         {"object", "response"}, {"created_at", about_.created},  {"status", status},
      {"background", false},     {"error", nullptr},     {"incomplete_details", nullptr}, {"model", about_.model},
      {"output", Json::array()}, {"usage", nullptr}};
  json.update(about_.echoed);
  if (!is_over) return json;
  for (size_t i = 0; i < blocks().size(); ++i) {
    const bool cut = is_cut() && i + 1 == blocks().size();
    json["output"].push_back(item(blocks()[i], i, cut ? "incomplete" : "completed"));
  }
  if (is_cut()) json["incomplete_details"] = {{"reason", "max_output_tokens"}};
  json["usage"] = {{"input_tokens", usage().n_prompt},
                   {"input_tokens_details", {{"cached_tokens", usage().n_cached}}},
                   {"output_tokens", usage().n_generated},
                   {"output_tokens_details", {{"reasoning_tokens", n_thinking_tokens()}}},
                   {"total_tokens", usage().n_prompt + usage().n_generated}};
  return json;
}

void ResponsesAnswer::begin_stream() {
  emit("response.created", {{"response", response("in_progress")}});
  emit("response.in_progress", {{"response", response("in_progress")}});
}

void ResponsesAnswer::open(const Block& block) {
  const size_t i = blocks().size() - 1;
  emit("response.output_item.added", {{"output_index", i}, {"item", item(block, i, "in_progress")}});
  if (block.kind == Part::kCall) return;
  Json json = place(block);
  json["part"] = part_of(block.kind, "");
  emit("response.content_part.added", std::move(json));
}

void ResponsesAnswer::more(const Block& block, const std::string& text) {
  Json json = place(block);
  json["delta"] = text;
  switch (block.kind) {
    case Part::kThinking: return emit("response.reasoning_text.delta", std::move(json));
    case Part::kCall: return emit("response.function_call_arguments.delta", std::move(json));
    default: json["logprobs"] = Json::array(); return emit("response.output_text.delta", std::move(json));
  }
}

void ResponsesAnswer::close(const Block& block) {
  const size_t i = blocks().size() - 1;
  Json json = place(block);
  if (block.kind == Part::kCall) {
    json["name"] = block.name;
    json["arguments"] = block.text;
    emit("response.function_call_arguments.done", std::move(json));
  } else {
    json["text"] = block.text;
    if (block.kind == Part::kContent) json["logprobs"] = Json::array();
    emit(block.kind == Part::kThinking ? "response.reasoning_text.done" : "response.output_text.done", std::move(json));
    Json part = place(block);
    part["part"] = part_of(block.kind, block.text);
    emit("response.content_part.done", std::move(part));
  }
  emit("response.output_item.done",
       {{"output_index", i}, {"item", item(block, i, is_cut() ? "incomplete" : "completed")}});
}

// As the next request finds them in its conversation.
Json ResponsesAnswer::messages() const {
  Json out = Json::array();
  for (const Block& block : blocks()) {
    if (block.kind == Part::kContent) out.push_back({{"role", "assistant"}, {"content", block.text}});
    if (block.kind == Part::kCall) add_call(out, tool_call(block.id, block.name, block.text));
  }
  return out;
}

void ResponsesAnswer::end() {
  const char* status = is_cut() ? "incomplete" : "completed";
  const Json done = response(status);
  if (about_.keep) about_.keep(done, messages());
  if (!streams()) return send(done);
  emit(is_cut() ? "response.incomplete" : "response.completed", {{"response", done}});
}

std::string ResponsesAnswer::error_event(const RequestError& error) const {
  Json failed = response("in_progress");
  failed["status"] = "failed";
  failed["error"] = {{"code", "server_error"}, {"message", error.what()}};
  return event("response.failed", {{"response", std::move(failed)}});
}

}  // namespace hunch::serve
