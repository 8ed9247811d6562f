// What a server shows its clients who ask for TLS.
#pragma once
#include <filesystem>
#include <memory>

namespace boost::asio::ssl {
class context;
}

namespace hunch::serve {

struct TlsFiles {
  std::filesystem::path certificate;  // PEM: its own, then those that sign it
  std::filesystem::path key;          // PEM, not encrypted
  bool any() const { return !certificate.empty() || !key.empty(); }
};

// TLS 1.2 and newer. Throws Error{kUsage} where one of the two files is missing, Error{kIo | kFormat} that names the
// file and what is wrong with it, Error{kUnsupported} where this hunch was built without OpenSSL.
std::shared_ptr<boost::asio::ssl::context> tls_context(const TlsFiles& files);

}  // namespace hunch::serve
