#include "hub/api.h"

#include <algorithm>
#include <cmath>
#include <thread>

#include "base/throw_if_stopped.h"
#include "base/timer.h"
#include "hub/url.h"

namespace hunch {
namespace {

constexpr double kMaxRetryAfterS = 300;  // the hub's rate limits are counted in windows of five minutes
constexpr size_t kMaxPages = 10000;
constexpr size_t kMaxFiles = 1000000;

void sleep_unless(const Stop* stop, double seconds) {
  const Timer timer;
  while (timer.seconds() < seconds) {
    throw_if_stopped(stop);
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, seconds - timer.seconds())));
  }
}

std::string token_advice(const HubServer& server) {
  return server.token.empty() ? "set HF_TOKEN to a token of an account that may read it"
                              : "check that the token (HF_TOKEN) is valid and that its account may read it";
}

// What the hub itself says about a refusal, as it may stand on a terminal, or nothing.
std::string explanation(const HttpResponse& response) {
  std::string text = response.header("x-error-message").substr(0, 200);
  for (char& c : text) {
    if (c < 0x20 || c > 0x7e) c = '?';
  }
  return text.empty() ? text : ": " + text;
}

}  // namespace

std::optional<double> Backoff::next(std::optional<double> retry_after_s) {
  if (n_failed_ >= server_.n_retries) return std::nullopt;
  const double wait = std::min(kMaxBackoffS, server_.backoff_s * std::exp2(n_failed_));
  n_failed_++;
  return std::max(wait, std::min(kMaxRetryAfterS, retry_after_s.value_or(0)));
}

bool is_transient(int status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

void fail_hub_status(const HubServer& server, const HttpResponse& response, const std::string& repo,
                     const std::string& revision, const std::string& what) {
  const std::string code = response.header("x-error-code");
  const int status = response.status;
  if (code == "GatedRepo") {
    fail(ErrorKind::kNetwork, "'{}' is gated ({}): accept its terms at {}/{}, then {}", repo, status, server.endpoint,
         repo, token_advice(server));
  }
  if (code == "RevisionNotFound") fail(ErrorKind::kNotFound, "'{}' has no revision '{}'", repo, revision);
  if (status == 401 || status == 403) {  // the hub does not tell strangers whether a private repository exists
    fail(
        code == "RepoNotFound" ? ErrorKind::kNotFound : ErrorKind::kNetwork,
        "the hub refuses {} of '{}' ({}): there is no such model, or it is private or gated; check the spelling, or {}",
        what, repo, status, token_advice(server));
  }
  if (status == 404 && code == "RepoNotFound")
    fail(ErrorKind::kNotFound, "there is no model '{}' at {}", repo, server.endpoint);
  if (status == 404)
    fail(ErrorKind::kNotFound, "the hub has no {} of '{}' at revision '{}' (404)", what, repo, revision);
  fail(ErrorKind::kNetwork, "the hub answers {} when asked for {} of '{}'{}", status, what, repo,
       explanation(response));
}

HttpResponse HubApi::get(const std::string& url) {
  HttpRequest request;
  request.url = url;
  request.token = server_.token;
  request.token_origin = server_.endpoint;
  request.cancelled = [this] { return server_.stop && server_.stop->requested(); };
  for (Backoff backoff(server_);;) {
    throw_if_stopped(server_.stop);
    std::string problem;
    std::optional<double> retry_after_s;
    try {
      HttpResponse response = client_.get(request);
      if (!is_transient(response.status)) return response;
      problem = fmt::format("the hub at {} answers {}", server_.endpoint, response.status);
      retry_after_s = response.retry_after_s();
    } catch (const HttpFailure& failure) {
      // Without any connection, waiting helps nobody who sits before an offline machine.
      if (!failure.connected()) throw HubUnreachable(failure.what());
      problem = failure.what();
    }
    const std::optional<double> wait_s = backoff.next(retry_after_s);
    if (!wait_s)
      throw HubUnreachable(fmt::format("{}, also after {} attempts; try again later", problem, server_.n_retries + 1));
    if (server_.note) server_.note(fmt::format("{}; next attempt in {:.0f} s", problem, *wait_s));
    sleep_unless(server_.stop, *wait_s);
  }
}

std::string HubApi::commit(const std::string& repo, const std::string& revision) {
  const std::string model_url = fmt::format("{}/api/models/{}", server_.endpoint, url_escape(repo, true));
  const HttpResponse response = get(fmt::format("{}/revision/{}", model_url, url_escape(revision, false)));
  if (response.status == 200) return parse_hub_commit(response.body);
  if (response.status == 404 && response.header("x-error-code").empty()) {
    // A mirror that does not say which of the two is missing: ask for the model alone.
    const HttpResponse model = get(model_url);
    if (model.status == 200) fail(ErrorKind::kNotFound, "'{}' has no revision '{}'", repo, revision);
    if (model.status == 404) fail(ErrorKind::kNotFound, "there is no model '{}' at {}", repo, server_.endpoint);
  }
  fail_hub_status(server_, response, repo, revision, "the commit");
}

std::vector<HubFile> HubApi::files(const std::string& repo, const std::string& commit) {
  std::vector<HubFile> files;
  std::string url =
      fmt::format("{}/api/models/{}/tree/{}?recursive=true", server_.endpoint, url_escape(repo, true), commit);
  for (size_t page = 0; !url.empty(); page++) {
    const HttpResponse response = get(url);
    if (response.status != 200) fail_hub_status(server_, response, repo, commit, "the list of files");
    std::vector<HubFile> more = parse_hub_tree(response.body);
    files.insert(files.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    const std::string next = next_link(response.header("link"));
    url = next.empty() ? next : resolve_url(response.url, next);
    if (page + 1 >= kMaxPages || files.size() > kMaxFiles) {
      fail(ErrorKind::kLimit, "'{}' lists more than {} files or {} pages", repo, kMaxFiles, kMaxPages);
    }
  }
  check_hub_files(files);
  return files;
}

std::string hub_file_url(const HubServer& server, const std::string& repo, const std::string& commit,
                         const std::string& path) {
  return fmt::format("{}/{}/resolve/{}/{}", server.endpoint, url_escape(repo, true), commit, url_escape(path, true));
}

}  // namespace hunch
