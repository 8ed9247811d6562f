#include "hub/part.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"

namespace hunch {
namespace {

[[noreturn]] void fail_io(const char* verb, const std::filesystem::path& path, int code) {
  fail(ErrorKind::kIo, "cannot {} '{}': {}", verb, path.string(), std::strerror(code));
}

// Git's object id of a file: SHA-1 over a header with the size, then the content.
class GitBlobHash {
 public:
  explicit GitBlobHash(uint64_t size) : context_(EVP_MD_CTX_new()) {
    if (!context_ || EVP_DigestInit_ex(context_, EVP_sha1(), nullptr) != 1) {
      EVP_MD_CTX_free(context_);
      fail(ErrorKind::kMemory, "OpenSSL cannot make a SHA-1 context");
    }
    const std::string header = fmt::format("blob {}", size);
    update({header.c_str(), header.size() + 1});  // with its final zero byte
  }
  ~GitBlobHash() { EVP_MD_CTX_free(context_); }
  GitBlobHash(const GitBlobHash&) = delete;
  GitBlobHash& operator=(const GitBlobHash&) = delete;

  void update(std::string_view bytes) {
    HUNCH_CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1, "SHA-1 update failed");
  }
  std::string finish_hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_bytes = 0;
    HUNCH_CHECK(EVP_DigestFinal_ex(context_, digest, &n_bytes) == 1, "SHA-1 final failed");
    std::string hex;
    for (unsigned i = 0; i < n_bytes; i++) hex += fmt::format("{:02x}", digest[i]);
    return hex;
  }

 private:
  EVP_MD_CTX* context_;
};

}  // namespace

// The digest that the hub gives for this file, of either kind.
class PartFile::Hash {
 public:
  explicit Hash(const HubFile& file) {
    if (file.digest_kind == HubDigest::kGitBlob) git_blob_ = std::make_unique<GitBlobHash>(file.size);
  }
  void update(std::string_view bytes) { git_blob_ ? git_blob_->update(bytes) : sha256_.update(bytes); }
  std::string finish_hex() { return git_blob_ ? git_blob_->finish_hex() : sha256_.finish_hex(); }

 private:
  Sha256 sha256_;
  std::unique_ptr<GitBlobHash> git_blob_;
};

PartFile::PartFile(std::filesystem::path path, const HubFile& file, const std::function<bool()>& cancelled)
    : path_(std::move(path)), file_(file), hash_(std::make_unique<Hash>(file)) {
  std::filesystem::create_directories(path_.parent_path());
  fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_io("write", path_, errno);
  try {
    hash_existing(cancelled);
  } catch (...) {
    close_file();
    throw;
  }
}

PartFile::~PartFile() { close_file(); }

void PartFile::close_file() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

void PartFile::hash_existing(const std::function<bool()>& cancelled) {
  struct stat st {};
  if (fstat(fd_, &st) != 0) fail_io("read", path_, errno);
  if (uint64_t(st.st_size) > file_.size) return restart();
  std::vector<char> buffer(size_t{1} << 20);
  while (true) {
    if (cancelled && cancelled()) throw Error(ErrorKind::kInterrupted, "interrupted");
    const ssize_t n = pread(fd_, buffer.data(), buffer.size(), off_t(size_));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io("read", path_, errno);
    if (n == 0) return;
    hash_->update({buffer.data(), size_t(n)});
    size_ += uint64_t(n);
  }
}

void PartFile::append(std::string_view bytes) {
  if (bytes.size() > file_.size - size_) {
    fail(ErrorKind::kNetwork,
         "'{}' has {} bytes on the hub, but more of them arrive; is a proxy answering in its place?", file_.path,
         file_.size);
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = pwrite(fd_, bytes.data() + done, bytes.size() - done, off_t(size_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io("write", path_, errno);
    done += size_t(n);
  }
  hash_->update(bytes);
  size_ += bytes.size();
}

void PartFile::restart() {
  if (ftruncate(fd_, 0) != 0) fail_io("empty", path_, errno);
  size_ = 0;
  hash_ = std::make_unique<Hash>(file_);
}

bool PartFile::matches() {
  HUNCH_CHECK(full(), "{} of {} bytes", size_, file_.size);
  return hash_->finish_hex() == file_.digest;
}

void PartFile::publish(const std::filesystem::path& target) {
  if (fsync(fd_) != 0) fail_io("write", path_, errno);
  close_file();
  std::filesystem::create_directories(target.parent_path());
  std::filesystem::rename(path_, target);
}

void PartFile::discard() {
  close_file();
  std::filesystem::remove(path_);
}

}  // namespace hunch
