#include "serve/sse.h"

namespace hunch::serve {

std::string sse_event(const Json& data) { return "data: " + dump(data) + "\n\n"; }
std::string sse_event(const char* name, const Json& data) {
  return std::string("event: ") + name + "\n" + sse_event(data);
}
std::string sse_done() { return "data: [DONE]\n\n"; }

}  // namespace hunch::serve
