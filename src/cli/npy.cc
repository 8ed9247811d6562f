#include "cli/npy.h"

#include <fmt/ranges.h>

namespace hunch::cli {

std::string npy_header(const char* descr, const std::vector<size_t>& shape) {
  std::string dict = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({},{}), }}", descr,
                                 fmt::join(shape, ", "), shape.size() == 1 ? "" : " ");
  constexpr size_t kPrefix = 10;  // magic, version, length
  dict.append(63 - (kPrefix + dict.size()) % 64, ' ');
  dict += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += char(dict.size() & 0xff);
  header += char(dict.size() >> 8);
  return header + dict;
}

}  // namespace hunch::cli
