// The calls of tools in an answer, told from its text while tokens come.
#pragma once
#include <memory>

#include "text/tool_call_reader.h"

namespace hunch {

// Works byte by byte: what it says does not depend on how the text is cut. What may begin a call is kept until that is
// decided; what turns out to be none is text. White space beside calls is dropped.
class ToolCallSplitter {
 public:
  // `syntax` outlives it. Without tools all is text.
  ToolCallSplitter(const ToolSyntax& syntax, std::shared_ptr<const std::vector<Tool>> tools)
      : syntax_(syntax), tools_(std::move(tools)) {}

  // Parts of the same kind are joined.
  std::vector<ToolPart> push(std::string_view text);
  // What was kept.
  std::vector<ToolPart> finish();

 private:
  void step(char c, std::vector<ToolPart>& out);
  void in_text(std::vector<ToolPart>& out);
  void in_list(char c, std::vector<ToolPart>& out);
  void begin(std::string_view mark);
  void read(char c, std::vector<ToolPart>& out);
  void give_back(std::vector<ToolPart>& out);

  const ToolSyntax& syntax_;
  std::shared_ptr<const std::vector<Tool>> tools_;
  std::unique_ptr<CallReader> reader_;  // none: in text, or in a list between two calls
  std::string_view mark_;               // that began the present call or list
  bool is_open_ = false;                // a mark was read, and not yet what stands behind it
  bool in_list_ = false;
  bool is_first_ = true;    // nothing but calls yet
  bool is_behind_ = false;  // a call was the last
  bool is_told_ = false;    // the present call was handed out
  std::string held_;        // text that is undecided
  std::string raw_;         // the present call as far as nothing of it was handed out
};

}  // namespace hunch
