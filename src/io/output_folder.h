// A folder that appears under its name only when it is complete.
#pragma once
#include <filesystem>

namespace hunch {

// Made beside `path` under another name; commit() renames it. Destroyed without commit, it goes away with all that was
// written into it. An existing folder gives way at commit where `replace`, and is not touched before.
class OutputFolder {
 public:
  // Throws Error{kIo} where it cannot be made, or `path` is there and may not be replaced.
  OutputFolder(std::filesystem::path path, bool replace);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& path() const { return temporary_; }  // where to write
  void commit();

 private:
  std::filesystem::path path_, temporary_;
  bool replace_, done_ = false;
};

}  // namespace hunch
