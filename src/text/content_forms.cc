#include "text/content_forms.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"

namespace hunch {
namespace {

using Json = nlohmann::ordered_json;
using Render = std::function<std::string(const Json&)>;

bool is_text_part(const Json& part) {
  return part.is_object() && part.contains("type") && part["type"] == "text" && part.contains("text") &&
         part["text"].is_string();
}

// nullptr where there is none.
Json* content_of(Json& message) {
  const auto content = message.find("content");
  return content == message.end() || content->is_null() ? nullptr : &*content;
}

Json as_texts(Json messages) {
  for (Json& message : messages) {
    Json* content = content_of(message);
    if (!content || !content->is_array()) continue;
    std::string text;
    for (const Json& part : *content) text += part["text"].get_ref<const std::string&>();
    *content = std::move(text);
  }
  return messages;
}

Json as_parts(Json messages) {
  for (Json& message : messages)
    if (Json* content = content_of(message); content && content->is_string())
      *content = Json::array({{{"type", "text"}, {"text", *content}}});
  return messages;
}

// How many of the contents are shown when each is exchanged for a mark of its own; -1 where the template refuses them.
int n_shown(Json messages, const Render& render) {
  const auto mark = [](size_t i) { return "hunch-content-mark-" + std::to_string(i) + "-"; };
  std::vector<size_t> marked;
  for (size_t i = 0; i < messages.size(); ++i) {
    Json* content = content_of(messages[i]);
    if (!content || !(content->is_string() || content->is_array())) continue;
    marked.push_back(i);
    if (content->is_string()) {
      *content = mark(i);
    } else {
      for (Json& part : *content) part["text"] = mark(i);
    }
  }
  try {
    const std::string text = render(messages);
    return int(std::ranges::count_if(marked, [&](size_t i) {
      const auto has = [&](const std::string& before) { return text.find(before + mark(i)) != text.npos; };
      return has("") && !has("'text': '") && !has("\"text\": \"");  // Python's and JSON's notation of a part
    }));
  } catch (const Error&) {
    return -1;
  }
}

}  // namespace

Json with_shown_content(const Json& messages, const std::string& source, const Render& render) {
  bool has_parts = false;
  int n_contents = 0;
  for (const Json& message : messages) {
    const auto content = message.find("content");
    if (content == message.end() || content->is_null()) continue;
    ++n_contents;
    if (!content->is_array()) continue;
    has_parts = true;
    if (!std::ranges::all_of(*content, is_text_part)) return messages;
  }
  if (!has_parts && source.find("type") == source.npos) return messages;  // it knows no parts
  int most = n_shown(messages, render);
  if (most == n_contents) return messages;
  Json best = messages;
  for (Json other : {as_texts(messages), as_parts(messages)})
    if (const int n = n_shown(other, render); n > most) {
      most = n;
      best = std::move(other);
    }
  return best;
}

Json with_text_parts(Json messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    Json* content = content_of(messages[i]);
    if (!content || !content->is_array()) continue;
    for (size_t k = 0; k < content->size(); ++k) {
      Json& part = (*content)[k];
      const std::string type = part["type"];
      const bool refuses = type == "refusal";
      if (!refuses && type != "text" && type != "input_text" && type != "output_text") continue;
      const auto text = part.find(refuses ? "refusal" : "text");
      if (text == part.end() || !text->is_string())
        fail(ErrorKind::kUsage, "messages[{}].content[{}] (type '{}'): expected '{}' as a string, found {}", i, k, type,
             refuses ? "refusal" : "text", text == part.end() ? "none" : text->type_name());
      if (type != "text") part = {{"type", "text"}, {"text", *text}};
    }
  }
  return messages;
}

void check_parts_shown(const Json& messages, const std::string& rendered) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const auto content = messages[i].find("content");
    if (content == messages[i].end() || !content->is_array()) continue;
    for (size_t k = 0; k < content->size(); ++k)
      if (const std::string type = (*content)[k]["type"];
          type != "text" && rendered.find(fmt::format("{{'type': '{}'", type)) != rendered.npos)
        fail(ErrorKind::kUnsupported, "messages[{}].content[{}]: the template has no place for a part of type '{}'", i,
             k, type);
  }
}

Json with_empty_content(const Json& messages) {
  Json out = messages;
  bool any = false;
  for (Json& message : out)
    if (!content_of(message)) {
      message["content"] = "";
      any = true;
    }
  return any ? out : Json::array();
}

}  // namespace hunch
