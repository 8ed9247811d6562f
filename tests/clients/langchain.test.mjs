// LangChain.js.
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import assert from "node:assert/strict";
import { test } from "node:test";
import { apiKey, clock, collect, leaves, says, url, zone } from "./common.mjs";

const configuration = { baseURL: url + "/v1" };
const model = new ChatOpenAI({ model: "parrot", temperature: 0, apiKey, configuration, maxRetries: 0 });

test("an answer, a stream, a second turn, a stop", async () => {
  assert.equal((await model.invoke("hello")).content, says);
  assert.equal(await collect(await model.stream("hello"), (part) => part.content), says);
  const turns = [new SystemMessage("Be kind."), new HumanMessage("hello"), new AIMessage(says), new HumanMessage("again")];
  assert.equal((await model.invoke(turns)).content, says);
  assert.equal((await model.invoke("hello", { stop: [" friend"] })).content, "Hello there,");
});

test("calls of tools", async () => {
  const bound = model.bindTools([{ type: "function", function: clock }]);
  const answer = await bound.invoke("hello");
  assert.deepEqual(answer.tool_calls.map((c) => [c.name, c.args]), [["clock", zone]]);
  const result = new ToolMessage({ content: "12:00", tool_call_id: answer.tool_calls[0].id });
  assert.equal((await bound.invoke([new HumanMessage("hello"), answer, result])).content, says);
});

test("vectors, an error, and a client that leaves", async () => {
  const embeddings = new OpenAIEmbeddings({ model: "parrot", apiKey, configuration, maxRetries: 0 });
  assert.equal((await embeddings.embedQuery("a")).length, 64);
  const hot = new ChatOpenAI({ model: "parrot", temperature: -1, apiKey, configuration, maxRetries: 0 });
  await assert.rejects(hot.invoke("hello"), (e) => e.status === 400);
  await leaves(async () => {
    const abort = new AbortController();
    try {
      for await (const _ of await model.stream("count", { signal: abort.signal })) abort.abort();
    } catch (e) {
      assert.match(`${e.name} ${e.message}`, /abort/i);
    }
  });
});
