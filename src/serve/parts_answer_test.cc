// The same parts of an answer as each API shows them.
#include "serve/parts_answer.h"

#include <gtest/gtest.h>

#include "serve/anthropic_answer.h"
#include "serve/ollama_answer.h"
#include "serve/responses_answer.h"

#include "serve/test_reply.h"

namespace hunch::serve {
namespace {

using Kind = ChatPart::Kind;

const std::vector<ChatPart> kParts = {{Kind::kThinking, "hm"},
                                      {Kind::kThinking, " so"},
                                      {Kind::kContent, "I "},
                                      {Kind::kContent, "look"},
                                      {Kind::kCall, "", "call_1", "clock"},
                                      {Kind::kArguments, "{\"zone\""},
                                      {Kind::kArguments, ": 1}"},
                                      {Kind::kCall, "", "call_2", "now"},
                                      {Kind::kArguments, "{}"}};

struct Shown {
  std::shared_ptr<TestReply> reply = std::make_shared<TestReply>();
  std::shared_ptr<PartsAnswer> writer;
  std::vector<std::shared_ptr<Job>> jobs = {std::make_shared<Job>()};

  void begin() {
    jobs[0]->prompt = {1, 2, 3, 4};
    writer->listen_to(jobs);
    jobs[0]->listener->on_begun(3);
  }
  void finish(StopReason reason, const std::string& stop_string = "") {
    JobResult result;
    result.generated.ids = {5, 6};
    result.generated.stop_reason = reason;
    result.generated.stop_string = stop_string;
    jobs[0]->listener->on_done(result);
  }
  Json body() const { return Json::parse(reply->response.body); }
};

Shown anthropic(bool stream) {
  Shown s;
  s.writer =
      std::make_shared<AnthropicAnswer>(s.reply, stream, std::nullopt, "msg_1", "m", std::vector<std::string>{"x"});
  s.begin();
  return s;
}
Shown responses(bool stream, Json* kept = nullptr) {
  Shown s;
  ResponsesAnswer::About about{"resp_1", "m", 7, stream, {{"store", true}}};
  if (kept) about.keep = [kept](const Json&, const Json& messages) { *kept = messages; };
  s.writer = std::make_shared<ResponsesAnswer>(s.reply, about, std::nullopt);
  s.begin();
  return s;
}
Shown ollama(bool stream, bool chats = true) {
  Shown s;
  s.writer = std::make_shared<OllamaAnswer>(s.reply, OllamaAnswer::About{"m", stream, chats}, std::nullopt);
  s.begin();
  return s;
}

std::vector<std::string> types(const std::vector<Json>& events) {
  std::vector<std::string> out;
  for (const Json& event : events) out.push_back(event["type"]);
  return out;
}

TEST(AnthropicAnswer, StreamsPingWhileNothingComes) {
  for (const bool stream : {true, false}) {
    Shown s = anthropic(stream);
    s.jobs[0]->listener->on_wait();
    s.jobs[0]->listener->on_wait();
    s.writer->add({{Kind::kContent, "I"}});
    s.jobs[0]->listener->on_wait();  // it can see for itself
    s.finish(StopReason::kEndOfText);
    const std::vector<std::string> want = {"message_start", "ping", "ping", "ping", "content_block_start"};
    const std::vector<std::string> found = types(s.reply->events());
    if (!stream) {
      EXPECT_TRUE(found.empty());
      EXPECT_EQ(s.body()["content"][0]["text"], "I");
      continue;
    }
    ASSERT_GE(found.size(), want.size());
    EXPECT_EQ(std::vector(found.begin(), found.begin() + ptrdiff_t(want.size())), want);
    EXPECT_EQ(std::count(found.begin(), found.end(), "ping"), 3);
  }
}

TEST(AnthropicAnswer, WholeMessageHasABlockForEachPart) {
  Shown s = anthropic(false);
  s.writer->add(kParts);
  s.finish(StopReason::kEndOfText);
  const Json m = s.body();
  ASSERT_EQ(m["content"].size(), 4u);
  EXPECT_EQ(m["content"][0]["thinking"], "hm so");
  EXPECT_EQ(m["content"][1], (Json{{"type", "text"}, {"text", "I look"}}));
  EXPECT_EQ(m["content"][2],
            (Json{{"type", "tool_use"}, {"id", "call_1"}, {"name", "clock"}, {"input", {{"zone", 1}}}}));
  EXPECT_EQ(m["content"][3]["input"], Json::object());
  EXPECT_EQ(m["stop_reason"], "tool_use");
  EXPECT_EQ(m["usage"]["input_tokens"], 1);
  EXPECT_EQ(m["usage"]["cache_read_input_tokens"], 3);
  EXPECT_EQ(m["usage"]["output_tokens"], 2);
}

TEST(AnthropicAnswer, StreamsBlocksOneAfterTheOther) {
  Shown s = anthropic(true);
  s.writer->add(kParts);
  s.finish(StopReason::kLength);
  const std::vector<Json> events = s.reply->events();
  EXPECT_EQ(types(events),
            (std::vector<std::string>{"message_start", "ping", "content_block_start", "content_block_delta",
                                      "content_block_delta", "content_block_stop", "content_block_start",
                                      "content_block_delta", "content_block_delta", "content_block_stop",
                                      "content_block_start", "content_block_delta", "content_block_delta",
                                      "content_block_stop", "content_block_start", "content_block_delta",
                                      "content_block_stop", "message_delta", "message_stop"}));
  EXPECT_EQ(events[11]["index"], 2);
  EXPECT_EQ(events[12]["delta"], (Json{{"type", "input_json_delta"}, {"partial_json", ": 1}"}}));
  EXPECT_EQ(events[17]["delta"]["stop_reason"], "max_tokens");
  EXPECT_TRUE(s.reply->ended);
  EXPECT_EQ(s.reply->stream.find("event: message_start\ndata: {\"type\":\"message_start\""), 0u);
}

TEST(AnthropicAnswer, StopTextsOfTheRequestAreTold) {
  Shown s = anthropic(false);
  s.finish(StopReason::kStopString, "x");
  EXPECT_EQ(s.body()["stop_reason"], "stop_sequence");
  EXPECT_EQ(s.body()["stop_sequence"], "x");
  Shown of_template = anthropic(false);
  of_template.finish(StopReason::kStopString, "\nUser:");
  EXPECT_EQ(of_template.body()["stop_reason"], "end_turn");
  EXPECT_EQ(of_template.body()["content"], Json::array());
}

TEST(ResponsesAnswer, ItemsAndWhatTheNextRequestFinds) {
  Json kept;
  Shown s = responses(false, &kept);
  s.writer->add(kParts);
  s.finish(StopReason::kEndOfText);
  const Json r = s.body();
  ASSERT_EQ(r["output"].size(), 4u);
  EXPECT_EQ(r["output"][0]["content"][0]["text"], "hm so");
  EXPECT_EQ(r["output"][1]["content"][0]["text"], "I look");
  EXPECT_EQ(r["output"][2]["call_id"], "call_1");
  EXPECT_EQ(r["output"][2]["arguments"], "{\"zone\": 1}");
  EXPECT_EQ(r["status"], "completed");
  EXPECT_EQ(r["usage"]["total_tokens"], 6);
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0]["content"], "I look");
  EXPECT_EQ(kept[0]["tool_calls"].size(), 2u);
}

TEST(ResponsesAnswer, StreamTellsEachItemFromItsBeginningToItsEnd) {
  Shown s = responses(true);
  s.writer->add(kParts);
  s.finish(StopReason::kContextFull);
  const std::vector<Json> events = s.reply->events();
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  std::vector<std::string> expected = {"response.created", "response.in_progress"};
  const auto add = [&](std::initializer_list<const char*> more) {
    expected.insert(expected.end(), more.begin(), more.end());
  };
  for (const char* kind : {"reasoning_text", "output_text"}) {
    add({"response.output_item.added", "response.content_part.added"});
    for (const char* what : {"delta", "delta", "done"})
      expected.push_back(std::string("response.") + kind + "." + what);
    add({"response.content_part.done", "response.output_item.done"});
  }
  add({"response.output_item.added", "response.function_call_arguments.delta", "response.function_call_arguments.delta",
       "response.function_call_arguments.done", "response.output_item.done", "response.output_item.added",
       "response.function_call_arguments.delta", "response.function_call_arguments.done", "response.output_item.done",
       "response.incomplete"});
  EXPECT_EQ(types(events), expected);
  EXPECT_EQ(events.back()["response"]["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(events.back()["response"]["output"].back()["status"], "incomplete");
  EXPECT_EQ(events[events.size() - 2]["item"], events.back()["response"]["output"].back());
}

TEST(OllamaAnswer, LinesAndCallsAsObjects) {
  Shown s = ollama(true);
  s.writer->add(kParts);
  s.finish(StopReason::kEndOfText);
  EXPECT_EQ(s.reply->content_type, "application/x-ndjson");
  const std::vector<Json> lines = s.reply->events();
  ASSERT_EQ(lines.size(), 7u);
  EXPECT_EQ(lines[0]["message"]["thinking"], "hm");
  EXPECT_EQ(lines[2]["message"]["content"], "I ");
  EXPECT_EQ(lines[4]["message"]["tool_calls"][0]["function"], (Json{{"name", "clock"}, {"arguments", {{"zone", 1}}}}));
  EXPECT_EQ(lines[6]["done_reason"], "stop");
  EXPECT_EQ(lines[6]["prompt_eval_count"], 4);
  Shown whole = ollama(false, false);
  whole.writer->add(kParts);
  whole.finish(StopReason::kLength);
  EXPECT_EQ(whole.body()["response"], "I look");
  EXPECT_EQ(whole.body()["thinking"], "hm so");
  EXPECT_EQ(whole.body()["tool_calls"].size(), 2u);
  EXPECT_EQ(whole.body()["done_reason"], "length");
}

TEST(PartsAnswer, ErrorsAreInEachFormBeforeAndInAStream) {
  const auto fail = [](Shown& s) {
    s.jobs[0]->listener->on_error(std::make_exception_ptr(RequestError(503, "no room")));
  };
  Shown a = anthropic(true), o = ollama(true), r = responses(true);
  for (Shown* s : {&a, &o, &r}) fail(*s);
  EXPECT_EQ(a.reply->response.status, 503);
  EXPECT_EQ(a.body()["error"]["type"], "overloaded_error");
  EXPECT_EQ(o.body(), (Json{{"error", "no room"}}));
  EXPECT_EQ(r.body()["error"]["message"], "no room");
  Shown a2 = anthropic(true), o2 = ollama(true), r2 = responses(true);
  for (Shown* s : {&a2, &o2, &r2}) {
    s->writer->add(kParts);
    fail(*s);
    EXPECT_TRUE(s->reply->ended);
    EXPECT_TRUE(s->jobs[0]->cancel.requested());
  }
  EXPECT_EQ(a2.reply->events().back()["error"]["message"], "no room");
  EXPECT_EQ(o2.reply->events().back()["error"], "no room");
  EXPECT_EQ(r2.reply->events().back()["type"], "response.failed");
}

TEST(PartsAnswer, ArgumentsThatAreNoObjectStayText) {
  EXPECT_EQ(arguments_json(""), Json::object());
  EXPECT_EQ(arguments_json("{\"a\": 1}"), (Json{{"a", 1}}));
  EXPECT_EQ(arguments_json("[1"), (Json{{"", "[1"}}));
  const std::string deep = R"({"a":)" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}";
  EXPECT_EQ(arguments_json(deep), (Json{{"", deep}}));
}

}  // namespace
}  // namespace hunch::serve
