// The page that is part of the binary, and how it is told.
#include "serve/page.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hunch::serve {
namespace {

std::string header(const HttpResponse& response, std::string_view name) {
  const auto found = std::ranges::find(response.headers, name, &std::pair<std::string, std::string>::first);
  return found == response.headers.end() ? "" : found->second;
}

TEST(Page, HasItsFiles) {
  const HttpResponse page = page_response({.method = "GET", .path = "/"});
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_NE(page.body.find("<title>hunch</title>"), page.body.npos);
  EXPECT_EQ(page.body.find("http://"), page.body.find("http://www.w3.org/2000/svg")) << "it loads from elsewhere";
  EXPECT_NE(page.body.find("./page.js"), page.body.npos);
  EXPECT_NE(page.body.find("./page.css"), page.body.npos);
  EXPECT_EQ(page_response({.method = "GET", .path = "/page.js"}).content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(page_response({.method = "GET", .path = "/page.css"}).content_type, "text/css; charset=utf-8");
  size_t n_bytes = 0;
  for (const char* name : {"index.html", "page.js", "page.css"}) {
    EXPECT_FALSE(page_bytes(name).empty()) << name;
    n_bytes += page_bytes(name).size();
  }
  EXPECT_LT(n_bytes, 150'000u);
  EXPECT_TRUE(page_bytes("other").empty());
}

TEST(Page, MayLoadNothingFromElsewhere) {
  const std::string policy = header(page_response({.method = "GET", .path = "/"}), "Content-Security-Policy");
  EXPECT_TRUE(policy.starts_with("default-src 'none';")) << policy;
  for (const char* word : {"unsafe", "*", "http", "script-src 'self' "})
    EXPECT_EQ(policy.find(word), policy.npos) << word;
}

TEST(Page, IsNotSentTwice) {
  for (const char* path : {"/", "/page.js", "/page.css"}) {
    const HttpResponse first = page_response({.method = "GET", .path = path});
    const std::string tag = header(first, "ETag");
    ASSERT_EQ(tag.size(), 34u);
    for (const std::string& known : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
      HttpRequest again{.method = "GET", .path = path};
      again.if_none_match = known;
      EXPECT_EQ(page_response(again).status, 304) << known;
      EXPECT_EQ(page_response(again).body, "") << known;
      EXPECT_EQ(header(page_response(again), "ETag"), tag);
    }
    HttpRequest other{.method = "GET", .path = path};
    other.if_none_match = "\"0123\"";
    EXPECT_EQ(page_response(other).status, 200);
  }
}

}  // namespace
}  // namespace hunch::serve
