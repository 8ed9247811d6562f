// A file on its way: what has arrived lies in a .part file, hashed as it grows, and gets its name only
// when size and digest are the hub's.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "hub/listing.h"

namespace hunch {

class PartFile {
 public:
  // Opens or creates `path` and its folders, and hashes what an earlier run left there (asking `cancelled`
  // between pieces: true throws Error{kInterrupted}). A part longer than the file is emptied.
  PartFile(std::filesystem::path path, const HubFile& file, const std::function<bool()>& cancelled);
  ~PartFile();
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  uint64_t size() const { return size_; }
  bool full() const { return size_ == file_.size; }

  // Appends; refuses bytes beyond the file's size with Error{kNetwork}. A full disk is Error{kIo}.
  void append(std::string_view bytes);
  // Throws away what has arrived.
  void restart();
  // Whether the content of a full part is what the hub vouches for. Call once per filling.
  bool matches();
  // Syncs and renames to `target`, whose folders are created. Nothing else may be called afterwards.
  void publish(const std::filesystem::path& target);
  // Deletes the part. Nothing else may be called afterwards.
  void discard();

 private:
  class Hash;
  void hash_existing(const std::function<bool()>& cancelled);
  void close_file();

  std::filesystem::path path_;
  HubFile file_;
  int fd_ = -1;
  uint64_t size_ = 0;
  std::unique_ptr<Hash> hash_;
};

}  // namespace hunch
