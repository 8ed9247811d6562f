#include "serve/ollama_answer.h"

#include "serve/service.h"

namespace hunch::serve {
namespace {

using Part = ChatPart::Kind;

int64_t nanoseconds(double seconds) { return int64_t(seconds * 1e9); }

Json call_json(const std::string& id, const std::string& name, const std::string& arguments) {
  return {{"id", id}, {"function", {{"name", name}, {"arguments", arguments_json(arguments)}}}};
}

std::string line(const Json& json) { return dump(json) + "\n"; }

}  // namespace

Json ollama_envelope(const std::string& model) { return {{"model", model}, {"created_at", iso_time(now_seconds())}}; }

Json ollama_load_json(const std::string& model, bool chats, const char* reason) {
  Json json = ollama_envelope(model);
  if (chats)
    json["message"] = {{"role", "assistant"}, {"content", ""}};
  else
    json["response"] = "";
  json["done"] = true;
  json["done_reason"] = reason;
  return json;
}

Json OllamaAnswer::with_text(const std::string& text, const std::string& thinking, const Json& calls) const {
  Json json = ollama_envelope(about_.model);
  Json fields = Json::object();
  if (!thinking.empty()) fields["thinking"] = thinking;
  if (!calls.empty()) fields["tool_calls"] = calls;
  if (about_.chats) {
    json["message"] = {{"role", "assistant"}, {"content", text}};
    json["message"].update(fields);
  } else {
    json["response"] = text;
    json.update(fields);
  }
  json["done"] = false;
  return json;
}

void OllamaAnswer::more(const Block& block, const std::string& text) {
  if (block.kind == Part::kContent) write(line(with_text(text, "", Json::array())));
  if (block.kind == Part::kThinking) write(line(with_text("", text, Json::array())));
}

void OllamaAnswer::close(const Block& block) {
  if (block.kind != Part::kCall) return;
  write(line(with_text("", "", Json::array({call_json(block.id, block.name, block.text)}))));
}

void OllamaAnswer::end() {
  Json calls = Json::array();
  for (const Block& block : blocks())
    if (block.kind == Part::kCall) calls.push_back(call_json(block.id, block.name, block.text));
  Json json = streams() ? with_text("", "", Json::array())
                        : with_text(text_of(Part::kContent), text_of(Part::kThinking), calls);
  const Generated& g = result().generated;
  json["done"] = true;
  json["done_reason"] = is_cut() ? "length" : "stop";
  json["total_duration"] = nanoseconds(seconds_between(about_.began, Clock::now()));
  json["load_duration"] = 0;
  json["prompt_eval_count"] = usage().n_prompt;
  json["prompt_eval_duration"] = nanoseconds(g.prompt_seconds);
  json["eval_count"] = usage().n_generated;
  json["eval_duration"] = nanoseconds(g.seconds);
  if (streams()) return write(line(json));
  send(json);
}

std::string OllamaAnswer::error_event(const RequestError& error) const {
  return line(error_json(error, Dialect::kOllama));
}

}  // namespace hunch::serve
