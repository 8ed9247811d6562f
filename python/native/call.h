// How Python calls the library: without Python's lock, one call at a time for all that shares threads, with Ctrl-C.
#pragma once
#include <hunch/cancel.h>
#include <pybind11/pybind11.h>

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

namespace hunch::python {

namespace py = pybind11;

// Of all that shares the threads of a model: who computes has it. Other calls wait.
struct Turn {
  bool taken = false;
  std::thread::id owner = {};  // the Python thread that called
};

// A call of the library. It works in a thread of its own where the caller is Python's main thread, which looks for
// signals meanwhile: only there does Python handle them. Callbacks run in the caller's thread in any case.
class Call {
 public:
  // With Python's lock. `cancel` ends the call: it is requested when Python raises. A brief one is not worth a thread.
  Call(std::span<Turn* const> turns, hunch::Cancel& cancel, bool brief = false);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Waits for its turns, runs `work`, and raises what it or Python raised. With Python's lock, which it gives away.
  void run(const std::function<void()>& work);

  // From `work`: runs `callback` in the caller's thread with Python's lock. False: the call is to end, since Python
  // raised something, now or before.
  bool in_python(const std::function<void()>& callback);

  const hunch::Cancel& cancel() const { return cancel_; }

 private:
  void take_turns();
  void give_turns();
  // Until it is done: looks for signals and runs what in_python() posts.
  void run_beside(const std::function<void()>& work);
  std::vector<Turn*> turns_;
  hunch::Cancel& cancel_;
  const bool is_main_;  // Python's main thread called
  const bool brief_;
  std::mutex mutex_;
  std::condition_variable changed_;
  const std::function<void()>* posted_ = nullptr;  // a callback that waits for the caller's thread
  bool done_ = false, beside_ = false;
  std::exception_ptr raised_ = {};  // by Python
};

// The result of `work(call)`.
template <class Work>
auto called(std::span<Turn* const> turns, hunch::Cancel& cancel, Work&& work, bool brief = false) {
  Call call(turns, cancel, brief);
  using Result = std::invoke_result_t<Work&, Call&>;
  if constexpr (std::is_void_v<Result>) {
    call.run([&] { work(call); });
  } else {
    std::optional<Result> result;
    call.run([&] { result.emplace(work(call)); });
    return std::move(*result);
  }
}

}  // namespace hunch::python
