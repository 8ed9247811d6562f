#include "base/interrupt.h"

#include <csignal>
#include <cstdlib>

#include "base/error.h"

namespace hunch {
namespace {

volatile std::sig_atomic_t g_pending = 0;  // the one global: a signal handler can reach nothing else

void on_signal(int signal) {
  if (g_pending && signal == SIGINT) std::_Exit(130);
  g_pending = 1;
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool take_interrupt() {
  if (!g_pending) return false;
  g_pending = 0;
  return true;
}

void throw_if_interrupted() {
  if (take_interrupt()) throw Error(ErrorKind::kInterrupted, "interrupted");
}

}  // namespace hunch
