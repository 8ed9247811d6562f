#include "base/interrupt.h"
#include "cli/flags.h"

int main(int argc, char** argv) {
  hunch::install_interrupt_handler();
  return hunch::cli::run_command_line(argc, argv);
}
