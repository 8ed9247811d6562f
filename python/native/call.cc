#include "call.h"

#include <algorithm>
#include <chrono>

namespace hunch::python {
namespace {

constexpr std::chrono::milliseconds kLook{50};  // between two looks for signals

// Turns are few and are taken for long: one lock guards all.
std::mutex turns_mutex;
std::condition_variable turn_given;

bool in_main_thread() {
  const py::object main = py::module_::import("threading").attr("main_thread")();
  return main.attr("ident").cast<unsigned long>() == PyThread_get_thread_ident();
}

// With Python's lock.
void raise_pending_signals() {
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}
const std::function<void()> raise_signals = raise_pending_signals;

// Takes Python's lock; what was thrown, or nullptr.
std::exception_ptr raised_by(const std::function<void()>& callback) noexcept {
  const py::gil_scoped_acquire python;
  try {
    callback();
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

}  // namespace

Call::Call(std::span<Turn* const> turns, hunch::Cancel& cancel, bool brief)
    : turns_(turns.begin(), turns.end()), cancel_(cancel), is_main_(in_main_thread()), brief_(brief) {
  std::ranges::sort(turns_);
  turns_.erase(std::unique(turns_.begin(), turns_.end()), turns_.end());
}

void Call::take_turns() {
  const auto self = std::this_thread::get_id();
  std::unique_lock lock(turns_mutex);
  for (const Turn* turn : turns_)
    if (turn->taken && turn->owner == self)
      throw std::runtime_error("the model is computing this very call: a callback cannot use it");
  while (std::ranges::any_of(turns_, &Turn::taken)) {
    if (turn_given.wait_for(lock, kLook) == std::cv_status::no_timeout || !is_main_) continue;
    lock.unlock();
    {
      const py::gil_scoped_acquire python;
      raise_pending_signals();
    }
    lock.lock();
  }
  for (Turn* turn : turns_) *turn = {true, self};
}

void Call::give_turns() {
  {
    const std::scoped_lock lock(turns_mutex);
    for (Turn* turn : turns_) *turn = {};
  }
  turn_given.notify_all();
}

bool Call::in_python(const std::function<void()>& callback) {
  if (beside_) {
    std::unique_lock lock(mutex_);
    if (!raised_) {
      posted_ = &callback;
      changed_.notify_all();
      changed_.wait(lock, [&] { return posted_ == nullptr; });
    }
    return !raised_;
  }
  if (!raised_) raised_ = raised_by(callback);
  if (raised_) cancel_.request();
  return !raised_;
}

void Call::run_beside(const std::function<void()>& work) {
  beside_ = true;
  std::exception_ptr failed;
  std::thread worker([&] {
    try {
      work();
    } catch (...) {
      failed = std::current_exception();
    }
    const std::scoped_lock lock(mutex_);
    done_ = true;
    changed_.notify_all();
  });
  std::unique_lock lock(mutex_);
  while (!done_) {
    changed_.wait_for(lock, kLook, [&] { return done_ || posted_; });
    const std::function<void()>* const callback = posted_;
    if (!done_ && !raised_) {
      lock.unlock();
      std::exception_ptr raised = raised_by(callback ? *callback : raise_signals);
      lock.lock();
      raised_ = std::move(raised);
      if (raised_) cancel_.request();
    }
    if (callback || raised_) posted_ = nullptr;
    changed_.notify_all();
  }
  lock.unlock();
  worker.join();
  if (failed) std::rethrow_exception(failed);
}

void Call::run(const std::function<void()>& work) {
  const py::gil_scoped_release without_python;
  take_turns();
  std::exception_ptr failed;
  try {
    if (is_main_ && !brief_) {
      run_beside(work);
    } else {
      work();
    }
  } catch (...) {
    failed = std::current_exception();
  }
  give_turns();
  if (raised_) std::rethrow_exception(raised_);
  if (failed) std::rethrow_exception(failed);
}

}  // namespace hunch::python
