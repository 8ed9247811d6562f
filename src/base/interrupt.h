// Ctrl-C as a question that long loops ask, so that every verb stops cleanly.
#pragma once

namespace hunch {

// From now on SIGINT, SIGTERM and SIGHUP set a flag instead of killing the process; a second SIGINT before
// the flag is read kills it after all. A file that outgrows its limit (SIGXFSZ) becomes a failed write.
// Called once by main.
void install_interrupt_handler();
// True once after each interrupt: reading clears the flag.
bool take_interrupt();
// Throws Error{kInterrupted} when an interrupt is pending. Long loops call it about every 0.1 s, on any
// thread; it costs a load.
void throw_if_interrupted();

}  // namespace hunch
