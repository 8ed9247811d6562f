// Vercel's AI SDK with a provider of an OpenAI-compatible server.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, generateText, jsonSchema, streamText, tool } from "ai";
import assert from "node:assert/strict";
import { test } from "node:test";
import { apiKey, clock, collect, conversation, leaves, says, url, zone } from "./common.mjs";

const provider = createOpenAICompatible({ name: "hunch", baseURL: url + "/v1", apiKey });
const model = provider("parrot");
const asked = { model, prompt: "hello", temperature: 0, maxRetries: 0 };

test("an answer, a stream, a second turn, a stop", async () => {
  const answer = await generateText(asked);
  assert.equal(answer.text, says);
  assert.equal(answer.finishReason, "stop");
  assert.equal(await collect(streamText(asked).textStream, (part) => part), says);
  const { prompt: _, ...without } = asked;
  assert.equal((await generateText({ ...without, messages: conversation })).text, says);
  assert.equal((await generateText({ ...asked, stopSequences: [" friend"] })).text, "Hello there,");
});

test("calls of tools, and an answer after their results", async () => {
  const tools = {
    clock: tool({ description: clock.description, inputSchema: jsonSchema(clock.parameters), execute: async () => "12:00" }),
  };
  const called = await generateText({ ...asked, tools });
  assert.deepEqual(called.toolCalls.map((c) => [c.toolName, c.input]), [["clock", zone]]);
  const after = [{ role: "user", content: "hello" }, ...called.response.messages];
  const { prompt: _, ...without } = asked;
  assert.equal((await generateText({ ...without, messages: after, tools })).text, says);
  const streamed = streamText({ ...asked, tools });
  await streamed.consumeStream();
  assert.deepEqual((await streamed.toolCalls).map((c) => c.input), [zone]);
});

test("vectors", async () => {
  const { embedding } = await embed({ model: provider.textEmbeddingModel("parrot"), value: "a", maxRetries: 0 });
  assert.equal(embedding.length, 64);
});

test("an error, and a client that leaves", async () => {
  await assert.rejects(generateText({ ...asked, temperature: -1 }), (e) => APICallError.isInstance(e) && e.statusCode === 400);
  await leaves(async () => {
    const abort = new AbortController();
    const { textStream } = streamText({ ...asked, prompt: "count", abortSignal: abort.signal, onError() {}, onAbort() {} });
    for await (const _ of textStream) {
      abort.abort();
      break;
    }
  });
});
