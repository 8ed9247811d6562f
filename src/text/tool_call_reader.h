// Readers of one call each, a byte at a time: they find the name, and hand on the arguments as JSON while they come.
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/tool_syntax.h"

namespace hunch {

struct Tool {
  std::string name;
  nlohmann::ordered_json parameters = nullptr;  // a JSON schema; null: any object
  bool strict = false;                          // whether the arguments must be what the schema says
};

struct ToolPart {
  enum class Kind : uint8_t {
    kText,
    kCall,      // one begins: `text` is the name of the tool
    kArguments  // more of the arguments of the newest call; together a JSON object
  };
  Kind kind = Kind::kText;
  std::string text = {};
  bool operator==(const ToolPart&) const = default;
};

// Adds to the last part if that is of the same kind.
void add_part(std::vector<ToolPart>& parts, ToolPart::Kind kind, std::string_view text);

class CallReader {
 public:
  enum class State : uint8_t {
    kMore,
    kDone,   // this byte was its last
    kNoCall  // it is none, or no longer one
  };
  virtual ~CallReader() = default;
  virtual State step(char c, std::vector<ToolPart>& out) = 0;
};

// A call of `syntax` of which the mark `mark` was read. `known_only`: it is one only if it names one of the tools.
// References outlive it.
std::unique_ptr<CallReader> call_reader(const ToolSyntax& syntax, std::string_view mark, const std::vector<Tool>& tools,
                                        bool known_only);

// {"name": ..., "arguments": {...}}; other fields are ignored.
std::unique_ptr<CallReader> json_call_reader(const std::vector<Tool>& tools, bool known_only);
// The other forms; `mark` as above.
std::unique_ptr<CallReader> named_call_reader(const ToolSyntax& syntax);
std::unique_ptr<CallReader> tagged_call_reader(const ToolSyntax& syntax, std::string_view mark,
                                               const std::vector<Tool>& tools);
std::unique_ptr<CallReader> braced_call_reader(const ToolSyntax& syntax);

}  // namespace hunch
