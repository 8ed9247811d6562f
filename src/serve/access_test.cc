// Whose requests are refused for where they come from.
#include "serve/access.h"

#include <gtest/gtest.h>

namespace hunch::serve {
namespace {

bool is_allowed(const Access& access, const std::string& host, const std::string& origin = "") {
  HttpRequest request;
  request.host = host;
  request.origin = origin;
  return access.refusal(request).empty();
}

TEST(Access, AtLoopbackOnlyItsOwnNamesAreServed) {
  const Access access{Access::hosts_of("127.0.0.1", {"My-Box"})};
  for (const char* host :
       {"localhost", "localhost:8080", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "[::1]", "my-box:80", ""})
    EXPECT_TRUE(is_allowed(access, host)) << host;
  for (const char* host : {"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example",
                           "127.0.0.2", "[::2]:8080", "localhost:80:80", "evil.example:localhost"})
    EXPECT_FALSE(is_allowed(access, host)) << host;
  EXPECT_TRUE(is_allowed({Access::hosts_of("127.0.0.5", {})}, "127.0.0.5:80"));
  EXPECT_TRUE(is_allowed({Access::hosts_of("::1", {})}, "[::1]:80"));
}

TEST(Access, ElsewhereAnyNameUnlessSomeAreGiven) {
  EXPECT_TRUE(is_allowed({Access::hosts_of("0.0.0.0", {})}, "anything.example"));
  const Access access{Access::hosts_of("0.0.0.0", {"llm.example"})};
  EXPECT_TRUE(is_allowed(access, "llm.example:8080"));
  EXPECT_FALSE(is_allowed(access, "other.example"));
}

TEST(Access, PagesOfOtherOriginsAreRefused) {
  Access access{Access::hosts_of("127.0.0.1", {})};
  EXPECT_TRUE(is_allowed(access, "localhost:8080", "http://localhost:8080"));
  for (const char* origin : {"http://evil.example", "http://localhost:3000", "http://127.0.0.1:8080", "null",
                             "http://evil.example/localhost:8080"})
    EXPECT_FALSE(is_allowed(access, "localhost:8080", origin)) << origin;
  access.cors = "http://app.example";
  EXPECT_TRUE(is_allowed(access, "localhost:8080", "http://app.example"));
  EXPECT_FALSE(is_allowed(access, "localhost:8080", "http://evil.example"));
  access.cors = "*";
  EXPECT_TRUE(is_allowed(access, "localhost:8080", "http://evil.example"));
  EXPECT_FALSE(is_allowed(access, "evil.example", "http://evil.example")) << "a name that was bound to this machine";
}

TEST(Access, HeadersGoToTheOriginThatWasAllowed) {
  HttpRequest request;
  request.method = "GET";
  request.origin = "http://app.example";
  EXPECT_EQ(Access{}.headers(request), "");
  Access access{{}, "http://app.example"};
  EXPECT_NE(access.headers(request).find("Access-Control-Allow-Origin: http://app.example\r\n"), std::string::npos);
  EXPECT_EQ(access.headers(request).find("Allow-Methods"), std::string::npos);
  request.method = "OPTIONS";
  EXPECT_NE(access.headers(request).find("Access-Control-Allow-Methods: "), std::string::npos);
  request.origin = "http://evil.example";
  EXPECT_EQ(access.headers(request), "Vary: Origin\r\n");
}

}  // namespace
}  // namespace hunch::serve
