// A wish that a call end early.
//
// Example:
//   hunch::Cancel cancel;  // a call is told of it as `options.cancel = &cancel`
//   cancel.request();      // from any thread, or from a signal handler
//   std::cout << (cancel.requested() ? "the call ends early\n" : "the call goes on\n");
//   cancel.clear();  // before the next call
//
#pragma once
#include <memory>

namespace hunch {

class Stop;

// Outlives the calls that know it. All functions may be called from several threads at once.
class Cancel {
 public:
  Cancel();
  ~Cancel();
  Cancel(const Cancel&) = delete;
  Cancel& operator=(const Cancel&) = delete;

  // Calls that know it end soon, and calls that begin with it at once.
  void request() noexcept;
  // For the next call.
  void clear() noexcept;
  // Since the last clear().
  bool requested() const noexcept;

 private:
  friend struct Inside;  // the library's own functions
  std::unique_ptr<Stop> stop_;
};

}  // namespace hunch
