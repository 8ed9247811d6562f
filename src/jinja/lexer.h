// Template source to tokens. White space control happens here, so the parser sees final text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "jinja/value.h"

namespace hunch::jinja {

enum class TokenKind {
  kText,         // literal output
  kOutputBegin,  // {{
  kOutputEnd,    // }}
  kTagBegin,     // {%
  kTagEnd,       // %}
  kName,
  kString,   // text: the decoded value
  kInteger,  // text: digits as written, underscores removed
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

struct LexOptions {
  // Also strip the indentation before {{ at the start of a line. Jinja does so only before {% and {#.
  bool strip_before_output = false;
};

// What the lexer refuses, with the line where it stands.
class SyntaxFault : public Fault {
 public:
  SyntaxFault(int line, const std::string& message) : Fault(message), line(line) {}
  int line;
};

// Splits `source` as Jinja2 does with trim_blocks and lstrip_blocks: line ends become "\n", one line
// end at the end of the source is dropped, comments vanish, raw blocks become text. The last token
// is kEnd. Throws SyntaxFault.
std::vector<Token> tokenize(std::string_view source, const LexOptions& options = {});

}  // namespace hunch::jinja
