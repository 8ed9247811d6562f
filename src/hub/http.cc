#include "hub/http.h"
#include "hub/lower.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <stdexcept>

namespace hunch {
namespace {

constexpr int kMaxRedirects = 10;
constexpr size_t kMaxHeaderBytes = size_t{1} << 18;
constexpr long kConnectTimeoutS = 20;
constexpr long kStallTimeoutS = 60;    // a transfer without a byte for so long is given up (and retried)
constexpr long kAnswerTimeoutS = 600;  // of a POST, whose answer has to be made first

std::string_view trim(std::string_view text) {
  const char* blank = " \t\r\n";
  const size_t begin = text.find_first_not_of(blank);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

struct UrlHandle {
  CURLU* handle = curl_url();
  ~UrlHandle() { curl_url_cleanup(handle); }

  bool set(const std::string& url) { return curl_url_set(handle, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK; }
  std::string part(CURLUPart which) const {
    char* text = nullptr;
    if (curl_url_get(handle, which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
    std::string out = text;
    curl_free(text);
    return out;
  }
};

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// Failures after which the same request may succeed once the other end is back, but which say that no
// connection came about.
bool never_connected(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT;
}

// A URL without its query, which may be long and, on signed addresses, secret.
std::string shown(const std::string& url) { return url.substr(0, url.find('?')); }

std::string failure_message(CURLcode code, const std::string& url, const char* detail) {
  UrlHandle parts;
  parts.set(url);
  const std::string host = parts.part(CURLUPART_HOST);
  if (code == CURLE_COULDNT_RESOLVE_HOST) {
    return fmt::format("cannot find the host '{}': is this machine online, and is HF_ENDPOINT right?", host);
  }
  if (code == CURLE_COULDNT_CONNECT) return fmt::format("cannot connect to '{}' ({})", shown(url), detail);
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
    return fmt::format(
        "'{}' has a certificate that this machine does not trust ({}); SSL_CERT_FILE may name a file of "
        "certificates to trust",
        host, detail);
  }
  return fmt::format("the transfer from '{}' failed: {}", shown(url), detail);
}

}  // namespace

std::string HttpHead::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

std::optional<double> HttpHead::retry_after_s() const {
  const std::string text = header("retry-after");
  if (text.empty()) return std::nullopt;
  if (std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); })) {
    return text.size() > 9 ? 1e9 : double(std::strtol(text.c_str(), nullptr, 10));
  }
  const time_t date = curl_getdate(text.c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return std::max(0.0, std::difftime(date, std::time(nullptr)));
}

// State of one request/response exchange, reached from curl's C callbacks: nothing may be thrown through those,
// so exceptions wait in `error`.
struct HttpClient::Transfer {
  const HttpRequest& request;
  HttpResponse response;
  size_t n_header_bytes = 0;
  std::exception_ptr error;
  bool cancelled = false;

  static size_t on_header(char* data, size_t, size_t n, void* self) {
    return static_cast<Transfer*>(self)->take_header({data, n}) ? n : 0;
  }
  static size_t on_body(char* data, size_t, size_t n, void* self) {
    return static_cast<Transfer*>(self)->take_body({data, n}) ? n : 0;
  }
  static int on_progress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    Transfer& transfer = *static_cast<Transfer*>(self);
    transfer.cancelled = transfer.cancelled || (transfer.request.cancelled && transfer.request.cancelled());
    return transfer.cancelled ? 1 : 0;
  }

  bool take_header(std::string_view line) {
    n_header_bytes += line.size();
    if (n_header_bytes > kMaxHeaderBytes) return false;
    if (line.starts_with("HTTP/")) {  // an interim answer (100 Continue) may have come before
      const size_t space = line.find(' ');
      response.status = space == line.npos ? 0 : std::atoi(std::string(line.substr(space + 1)).c_str());
      response.headers.clear();
      return true;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) return true;
    std::string& value = response.headers[lower(trim(line.substr(0, colon)))];
    if (!value.empty()) value += ", ";
    value += trim(line.substr(colon + 1));
    return true;
  }

  bool take_body(std::string_view piece) {
    try {
      if (request.on_body && response.status >= 200 && response.status < 300) {
        request.on_body(response, piece);
      } else if (response.body.size() + piece.size() <= request.max_body_bytes) {
        response.body += piece;
      } else if (response.status < 300) {
        fail(ErrorKind::kNetwork, "'{}' answers with more than {} bytes; is the endpoint a Hugging Face hub?",
             shown(response.url), request.max_body_bytes);
      }
      return true;
    } catch (...) {
      error = std::current_exception();
      return false;
    }
  }
};

HttpClient::HttpClient() {
  static const CURLcode global = curl_global_init(CURL_GLOBAL_DEFAULT);
  curl_ = global == CURLE_OK ? curl_easy_init() : nullptr;
  if (!curl_) fail(ErrorKind::kMemory, "libcurl cannot be initialised");
}

HttpClient::~HttpClient() { curl_easy_cleanup(static_cast<CURL*>(curl_)); }

HttpResponse HttpClient::get(const HttpRequest& request) {
  std::string url = resolve_url(request.url, request.url);
  for (int i = 0; i <= kMaxRedirects; i++) {
    HttpResponse response = exchange(request, url, nullptr);
    const std::string location = response.header("location");
    if (!is_redirect(response.status) || location.empty()) return response;
    std::string next = resolve_url(url, location);
    if (url.starts_with("https:") && !next.starts_with("https:")) {
      fail(ErrorKind::kNetwork, "'{}' redirects from https to '{}'; refused", shown(url), shown(next));
    }
    url = std::move(next);
  }
  fail(ErrorKind::kNetwork, "'{}' redirects more than {} times", shown(request.url), kMaxRedirects);
}

HttpResponse HttpClient::post(const HttpRequest& request, const std::string& json) {
  return exchange(request, resolve_url(request.url, request.url), &json);
}

// A POST of `json`, or a GET where there is none.
HttpResponse HttpClient::exchange(const HttpRequest& request, const std::string& url, const std::string* json) {
  CURL* curl = static_cast<CURL*>(curl_);
  Transfer transfer{request, {}, 0, nullptr, false};
  transfer.response.url = url;

  curl_easy_reset(curl);  // keeps connections
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);  // time-outs without signals: several threads download
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "hunch/0.1");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectTimeoutS);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, json ? kAnswerTimeoutS : kStallTimeoutS);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &Transfer::on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, long(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  if (const char* certificates = std::getenv("SSL_CERT_FILE")) curl_easy_setopt(curl, CURLOPT_CAINFO, certificates);
  const std::string range = fmt::format("{}-", request.range_begin);
  if (request.range_begin > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());

  // A compressed body would have another length and another checksum than the file.
  curl_slist* headers = curl_slist_append(nullptr, "Accept-Encoding: identity");
  if (json) {
    headers = curl_slist_append(headers, "Content-Type: application/json");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json->data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(json->size()));
  }
  if (!request.token.empty() && same_origin(url, request.token_origin)) {
    headers = curl_slist_append(headers, ("Authorization: Bearer " + request.token).c_str());
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, nullptr);
  curl_slist_free_all(headers);

  if (transfer.error) std::rethrow_exception(transfer.error);
  if (transfer.cancelled) throw Error(ErrorKind::kInterrupted, "interrupted");
  if (code != CURLE_OK) {
    throw HttpFailure(failure_message(code, url, detail[0] ? detail : curl_easy_strerror(code)),
                      !never_connected(code));
  }
  return std::move(transfer.response);
}

bool same_origin(const std::string& a, const std::string& b) {
  UrlHandle url_a, url_b;
  if (!url_a.set(a) || !url_b.set(b)) return false;
  for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
    if (lower(url_a.part(part)) != lower(url_b.part(part))) return false;
  }
  return true;
}

std::string resolve_url(const std::string& base, const std::string& reference) {
  UrlHandle url;
  const bool ok = url.set(base) && url.set(reference);  // curl resolves a relative one against the first
  const std::string scheme = ok ? lower(url.part(CURLUPART_SCHEME)) : std::string();
  char* text = nullptr;
  if ((scheme != "http" && scheme != "https") || curl_url_get(url.handle, CURLUPART_URL, &text, 0) != CURLUE_OK) {
    fail(ErrorKind::kNetwork, "'{}' is no http or https address; is HF_ENDPOINT right?", reference);
  }
  std::string out = text;
  curl_free(text);
  return out;
}

}  // namespace hunch
