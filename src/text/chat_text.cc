#include "text/chat_text.h"

#include "base/error.h"
#include "base/file.h"

namespace hunch {
namespace {

constexpr const char* kPlain =
    "{%- for m in messages -%}"
    "{%- if m.role == 'system' -%}{{ m.content + '\\n' }}"
    "{%- elif m.role == 'user' -%}{{ 'User: ' + m.content + '\\n' }}"
    "{%- else -%}{{ 'Assistant: ' + m.content + '\\n' }}"
    "{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'Assistant:' }}{%- endif -%}";

}  // namespace

ChatText chat_text(const Tokenizer* tokenizer, const std::string& file) {
  ChatText out;
  if (tokenizer) {
    const TokenizerSpec& spec = tokenizer->spec();
    if (spec.bos) out.options.bos_token = std::string(tokenizer->piece(*spec.bos));
    if (spec.eos) out.options.eos_token = std::string(tokenizer->piece(*spec.eos));
    out.source = spec.chat_template;
  }
  if (file == "plain") {
    out.source = kPlain;
    out.add_special = true;
    out.stop = {"\nUser:", "\nAssistant:"};
  } else if (!file.empty()) {
    out.source = read_file(file);
  }
  if (out.source.empty())
    fail(ErrorKind::kNotFound,
         "the model has no chat template: it was probably not trained to talk. Have it continue texts, or name a file "
         "with a "
         "template (template_file), or \"plain\" there, which is User: / Assistant:");
  return out;
}

}  // namespace hunch
