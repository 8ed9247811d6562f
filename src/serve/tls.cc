#include "serve/tls.h"

#include "base/error.h"

#ifdef HUNCH_HAVE_TLS
#include <boost/asio/ssl/context.hpp>
#include <fstream>

namespace hunch::serve {
namespace {

using Code = boost::system::error_code;
using boost::asio::ssl::context;

void need_file(const std::filesystem::path& path, const char* option, const char* what) {
  if (path.empty())
    fail(ErrorKind::kUsage, "TLS needs a certificate and its key: the {} ({}) is missing", what, option);
  if (!std::ifstream(path)) fail(ErrorKind::kIo, "the {} '{}' ({}) cannot be read", what, path.string(), option);
}

}  // namespace

std::shared_ptr<context> tls_context(const TlsFiles& files) {
  need_file(files.certificate, "tls-cert", "certificate");
  need_file(files.key, "tls-key", "key");
  auto out = std::make_shared<context>(context::tls_server);
  out->set_options(context::default_workarounds | context::no_compression);
  SSL_CTX_set_min_proto_version(out->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_mode(out->native_handle(), SSL_MODE_RELEASE_BUFFERS);  // idle connections hold less
  // Without this OpenSSL asks the terminal.
  bool is_encrypted = false;
  out->set_password_callback([&](size_t, context::password_purpose) {
    is_encrypted = true;
    return std::string();
  });
  Code error;
  out->use_certificate_chain_file(files.certificate.string(), error);
  if (error)
    fail(ErrorKind::kFormat, "the certificate '{}' (tls-cert) is none in PEM: {}", files.certificate.string(),
         error.message());
  out->use_private_key_file(files.key.string(), context::pem, error);
  if (is_encrypted)
    fail(ErrorKind::kUnsupported, "the key '{}' (tls-key) is encrypted, expected one without a password",
         files.key.string());
  if (!error && SSL_CTX_check_private_key(out->native_handle())) {
    out->set_password_callback([](size_t, context::password_purpose) { return std::string(); });
    return out;
  }
  // OpenSSL compares a key with the certificate as it reads it.
  if (error && !std::string_view(error.message()).starts_with("key values mismatch"))
    fail(ErrorKind::kFormat, "the key '{}' (tls-key) is none in PEM: {}", files.key.string(), error.message());
  fail(ErrorKind::kFormat, "the key '{}' (tls-key) is not that of the certificate '{}' (tls-cert)", files.key.string(),
       files.certificate.string());
}

}  // namespace hunch::serve
#else
namespace hunch::serve {

std::shared_ptr<boost::asio::ssl::context> tls_context(const TlsFiles&) {
  fail(ErrorKind::kUnsupported,
       "this hunch was built without OpenSSL (HUNCH_HUB=OFF), which TLS (tls-cert) needs: a proxy in front can speak "
       "it");
}

}  // namespace hunch::serve
#endif
