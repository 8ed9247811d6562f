// Answers that are calls of tools, as each family of models writes them.
#pragma once
#include "grammar/expression.h"
#include "text/tool_calls.h"
#include "text/tool_template.h"

namespace hunch::grammar {

struct ToolRulesOptions {
  std::string name;       // of the tool to call; empty: any of them
  bool parallel = false;  // several calls, where the family has a form for that
};

// One call or more, and nothing else; the arguments are what the tool's schema says, or any object where it has none.
// `source` is the chat template, which tells a family's versions apart. Throws as schema_rules(), naming the tool, and
// Error{kUnsupported} for arguments that the family's own notation cannot take.
Rules tool_rules(const ToolSyntax& syntax, std::string_view source, const Tokenizer& tokenizer,
                 const std::vector<Tool>& tools, const ToolRulesOptions& options);

}  // namespace hunch::grammar
