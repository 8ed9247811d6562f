// Ctrl-C as a question that long loops ask, so that every verb stops cleanly.
#pragma once
#include "base/stop.h"

namespace hunch {

// From now on SIGINT, SIGTERM and SIGHUP set a flag instead of killing the process; a second SIGINT before
// the flag is read kills it after all. A file that outgrows its limit (SIGXFSZ) becomes a failed write.
// Called once by main.
void install_interrupt_handler();
// What an interrupt asks for: the command line makes it the stop, or the parent of the stops, of all that it calls.
// Whoever goes on after an interrupt clears it.
Stop& interrupt_stop();
// True once after each interrupt: reading clears the flag.
bool take_interrupt();
// Throws Error{kInterrupted} when an interrupt is pending. Long loops call it about every 0.1 s, on any
// thread; it costs a load.
void throw_if_interrupted();

// A second Ctrl-C that kills the process unlinks these files first: at most eight at a time, more are
// not remembered. `path` is not copied and must stay until forget_on_kill(path), compared by address.
void unlink_on_kill(const char* path);
void forget_on_kill(const char* path);

}  // namespace hunch
