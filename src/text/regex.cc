#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "base/error.h"
#include "io/printable.h"
#include "text/utf8.h"

namespace hunch {
namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// What a match needs besides the pattern; one per thread.
struct Scratch {
  static constexpr size_t kJitStackBytes = size_t{8} << 20;
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr);

  Scratch() {
    if (!context || !data) fail(ErrorKind::kMemory, "not enough memory for a regular expression match");
    if (stack) pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_heap_limit(context, 256 * 1024);  // KiB
  }
  ~Scratch() {
    pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

Scratch& scratch() {
  thread_local Scratch s;
  return s;
}

}  // namespace

struct Regex::Impl {
  std::string pattern;
  pcre2_code* code = nullptr;
  ~Impl() { pcre2_code_free(code); }

  // The first match at or after `from`: [begin, end), or begin == npos.
  std::pair<size_t, size_t> find(std::string_view text, size_t from) const {
    Scratch& s = scratch();
    const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, s.data, s.context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its backtracking on the heap
      rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, s.data, s.context);
    }
    if (rc == PCRE2_ERROR_NOMATCH) return {std::string_view::npos, 0};
    if (rc < 0) {
      fail(ErrorKind::kLimit, "pre-tokeniser pattern '{}' cannot be matched at byte {} of {}: {}",
           printable(pattern, 80), from, text.size(), message_of(rc));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(s.data);
    // \K in a lookahead can set the start behind the end.
    return {ends[0], std::max(ends[0], ends[1])};
  }

  // Calls on_match(begin, end) for each match, left to right; after an empty match the search goes on
  // one character later.
  template <class F>
  void for_each_match(std::string_view text, F on_match) const {
    size_t from = 0;
    while (from <= text.size()) {
      const auto [begin, end] = find(text, from);
      if (begin == std::string_view::npos) return;
      on_match(begin, end);
      from = end;
      if (begin == end) from += from < text.size() ? utf8_step(text, from).n_bytes : 1;
    }
  }
};

Regex::Regex(const std::string& pattern) {
  auto impl = std::make_unique<Impl>();
  impl->pattern = pattern;
  const std::string translated = to_pcre2_syntax(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (!impl->code) {
    fail(ErrorKind::kUnsupported, "pre-tokeniser pattern '{}' (as '{}') is not understood at byte {}: {}",
         printable(pattern, 200), printable(translated, 200), offset, message_of(error));
  }
  pcre2_jit_compile(impl->code, PCRE2_JIT_COMPLETE);  // where there is no JIT the interpreter matches
  impl_ = std::move(impl);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

void Regex::split(std::string_view text, std::vector<std::string_view>& parts) const {
  size_t done = 0;
  const auto cut_to = [&](size_t end) {
    if (end > done) parts.push_back(text.substr(done, end - done));
    done = std::max(done, end);
  };
  impl_->for_each_match(text, [&](size_t begin, size_t end) {
    cut_to(begin);
    cut_to(end);
  });
  cut_to(text.size());
}

std::string Regex::replace(std::string_view text, std::string_view to) const {
  std::string out;
  size_t done = 0;
  impl_->for_each_match(text, [&](size_t begin, size_t end) {
    if (begin < done) return;
    out += text.substr(done, begin - done);
    out += to;
    done = end;
  });
  out += text.substr(done);
  return out;
}

}  // namespace hunch
