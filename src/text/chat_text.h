// Where the text of a conversation comes from: the model's chat template or one in a file.
#pragma once
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hunch {

struct ChatText {
  std::string source;             // Jinja
  TemplateOptions options;        // with the texts of BOS and EOS
  bool add_special = false;       // BOS comes from the tokenizer, as the template has none
  std::vector<std::string> stop;  // end an answer beside the end-of-text token: what begins the next turn
};

// The template in `file`, else the tokenizer's own; `file` "plain" is "User: ...\nAssistant: ...".
// `tokenizer` may be null where a file is given. Throws Error{kNotFound} for a model without a template.
ChatText chat_text(const Tokenizer* tokenizer, const std::string& file);

}  // namespace hunch
