#include "io/stand_in.h"

#include <algorithm>
#include <string_view>

namespace hunch {

std::string stand_in_text(std::span<const std::byte> bytes) {
  const std::string_view begin(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 1024));
  const size_t first = begin.find_first_not_of(" \t\r\n");
  const std::string_view text = first == begin.npos ? "" : begin.substr(first);
  if (text.starts_with("version https://git-lfs"))
    return "; it is a Git LFS pointer: `git lfs pull` fetches the file itself";
  for (const char* tag : {"<!DOCTYPE", "<!doctype", "<html", "<HTML", "<?xml"})
    if (text.starts_with(tag)) return "; it is a page of a web site: the download went wrong";
  if (text.starts_with("{\"error")) return "; it is a server's error message: the download went wrong";
  if (text.starts_with("PK\x03\x04")) return "; it is a zip archive (of PyTorch's checkpoints, .bin or .pth, too)";
  return "";
}

}  // namespace hunch
