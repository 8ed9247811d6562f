#include <fcntl.h>

#include <cerrno>

#include "base/interrupt.h"
#include "cli/ranks.h"

namespace {

// Streams that were closed before (2>&-) keep their numbers: else the next file that is opened would have one of them,
// and notes would be written into it. What is written there fails, as it does where there is no stream.
void keep_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDONLY) != fd) return;
}

}  // namespace

int main(int argc, char** argv) {
  keep_standard_streams();
  hunch::install_interrupt_handler();
  return hunch::cli::run_on_ranks(argc, argv);
}
