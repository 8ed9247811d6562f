// Questions to the hub: which commit a revision is, which files it has, and what its refusals mean.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/stop.h"
#include "hub/http.h"
#include "hub/listing.h"

namespace hunch {

// Where the hub is and how patiently it is asked.
struct HubServer {
  std::string endpoint;                        // without a final '/'
  std::string token;                           // may be empty
  int n_retries = 5;                           // after the first attempt, for broken connections, 429 and 5xx
  double backoff_s = 1;                        // before the first retry; doubles up to kMaxBackoffS
  std::function<void(std::string_view)> note;  // told why something waits; may be empty
  const Stop* stop = nullptr;                  // ends what is under way with Error{kInterrupted}
};

inline constexpr double kMaxBackoffS = 30;

// The hub gave no usable answer after all retries: offline, down, or overloaded.
class HubUnreachable : public Error {
 public:
  explicit HubUnreachable(const std::string& message) : Error(ErrorKind::kNetwork, message) {}
};

// Counts the attempts at one thing and says how long to wait before the next.
class Backoff {
 public:
  explicit Backoff(const HubServer& server) : server_(server) {}
  // Seconds to wait before the next attempt, at least what the server asked for (at most five minutes);
  // nullopt when it is time to give up.
  std::optional<double> next(std::optional<double> retry_after_s);
  // Forgets the attempts so far: something was gained.
  void reset() { n_failed_ = 0; }

 private:
  const HubServer& server_;
  int n_failed_ = 0;
};

// Statuses after which the same request may succeed later.
bool is_transient(int status);

// Throws the error that a refusal of anything of `repo` at `revision` means: what is missing or closed,
// and what to do about it. `what` names the thing asked for.
[[noreturn]] void fail_hub_status(const HubServer& server, const HttpResponse& response, const std::string& repo,
                                  const std::string& revision, const std::string& what);

// Runs on the calling thread; the server's stop throws Error{kInterrupted}.
class HubApi {
 public:
  explicit HubApi(const HubServer& server) : server_(server) {}

  // The commit of a branch, tag or commit. Throws HubUnreachable; Error{kNotFound} saying whether repository or
  // revision is missing; Error{kNetwork} for a closed repository.
  std::string commit(const std::string& repo, const std::string& revision);
  // All files of a commit, through all pages. Throws as above, and Error{kFormat}.
  std::vector<HubFile> files(const std::string& repo, const std::string& commit);

 private:
  HttpResponse get(const std::string& url);
  const HubServer& server_;
  HttpClient client_;
};

// Where a file's content is.
std::string hub_file_url(const HubServer& server, const std::string& repo, const std::string& commit,
                         const std::string& path);

}  // namespace hunch
