// Where the text of a conversation comes from: the model's chat template or one named on the command line.
#pragma once
#include <string>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace hunch::cli {

struct ChatText {
  std::string source;       // Jinja
  TemplateOptions options;  // with the texts of BOS and EOS
};

// The template in `file`, else the tokenizer's own; `file` "plain" is "User: ...\nAssistant: ...".
// `tokenizer` may be null where a file is given. Throws Error{kNotFound} for a model without a template.
ChatText chat_text(const Tokenizer* tokenizer, const std::string& file);

}  // namespace hunch::cli
