// Any answer of any family: cut anywhere it says the same, and nothing is lost or made up where no call is.
#include <cstdint>
#include <cstdlib>

#include "text/tool_calls.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hunch;
  if (size < 3) return 0;
  const auto& families = tool_syntaxes();
  const ToolSyntax& syntax = families[data[0] % families.size()];
  const auto schema =
      nlohmann::ordered_json::parse(R"({"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}})");
  const auto tools = std::make_shared<std::vector<Tool>>(std::vector<Tool>{{"f", schema}, {"g", nullptr}});
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto split = [&](size_t cut) {
    ToolCallSplitter splitter(syntax, tools);
    std::vector<ToolPart> all;
    const auto add = [&](const std::vector<ToolPart>& parts) {
      for (const ToolPart& part : parts) add_part(all, part.kind, part.text);
    };
    add(splitter.push(text.substr(0, cut)));
    add(splitter.push(text.substr(cut)));
    add(splitter.finish());
    return all;
  };
  const std::vector<ToolPart> parts = split(text.size());
  if (parts != split(data[1] * text.size() / 256)) std::abort();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].kind == ToolPart::Kind::kArguments && (i == 0 || parts[i - 1].kind != ToolPart::Kind::kCall))
      std::abort();
    if (parts[i].kind == ToolPart::Kind::kCall && parts[i].text.empty()) std::abort();
  }
  if (parts.size() == 1 && parts[0].kind == ToolPart::Kind::kText && parts[0].text.size() > text.size()) std::abort();
  return 0;
}
