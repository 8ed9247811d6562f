#include "base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>

#include "base/error.h"

namespace hunch {
namespace {

// The only globals: a signal handler can reach nothing else. Worker threads ask too, so they are atomic.
constinit Stop g_stop;
std::atomic<const char*> g_unlinked[8] = {};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free);

void on_signal(int signal) {
  if (!g_stop.request() || signal != SIGINT) return;
  for (const auto& path : g_unlinked)
    if (const char* name = path.load()) unlink(name);
  std::_Exit(130);
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};  // a closed terminal, unless nohup asked to ignore it
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler == SIG_DFL) sigaction(SIGHUP, &action, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes then fails the write, which says so and cleans up
}

void unlink_on_kill(const char* path) {
  for (auto& slot : g_unlinked)
    if (const char* empty = nullptr; slot.compare_exchange_strong(empty, path)) return;
}

void forget_on_kill(const char* path) {
  for (auto& slot : g_unlinked)
    if (const char* kept = path; slot.compare_exchange_strong(kept, nullptr)) return;
}

Stop& interrupt_stop() { return g_stop; }

bool take_interrupt() { return g_stop.requested() && g_stop.clear(); }

void throw_if_interrupted() {
  if (take_interrupt()) throw Error(ErrorKind::kInterrupted, "interrupted");
}

}  // namespace hunch
