// The official client of Ollama's API.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Ollama } from "ollama";
import { apiKey, clock, collect, conversation, count, hello, isOfSchema, leaves, says, schema, url, zone } from "./common.mjs";

const client = new Ollama({ host: url, headers: { authorization: `Bearer ${apiKey}` } });
const options = { temperature: 0, repeat_penalty: 1 };
const chat = (more) => client.chat({ model: "parrot", messages: hello, options, ...more });

test("an answer, a stream, a second turn, a stop", async () => {
  const answer = await chat();
  assert.equal(answer.message.content, says);
  assert.equal(answer.done_reason, "stop");
  assert.ok(answer.total_duration >= answer.eval_duration && answer.eval_duration > 0 && answer.eval_count > 0);
  assert.equal(await collect(await chat({ stream: true }), (e) => e.message.content), says);
  assert.equal((await chat({ messages: conversation })).message.content, says);
  assert.equal((await chat({ options: { ...options, stop: [" friend"] } })).message.content, "Hello there,");
  assert.equal((await chat({ messages: count, options: { ...options, num_predict: 5 } })).done_reason, "length");
  const short = await chat({ messages: count, options: { ...options, num_ctx: 30 } });
  assert.equal(short.prompt_eval_count + short.eval_count, 30);
});

test("generate, with and without the template", async () => {
  const generate = (more) => client.generate({ model: "parrot", prompt: "hello", options, ...more });
  assert.equal((await generate()).response, says);
  assert.equal((await generate({ prompt: "a <p:say>", raw: true })).response, says);
  assert.equal(await collect(await generate({ stream: true }), (e) => e.response), says);
});

test("thinking and calls of tools", async () => {
  const thought = (await chat({ think: true })).message;
  assert.deepEqual([thought.thinking, thought.content], ["let me see", "Indeed."]);
  const tools = [{ type: "function", function: clock }];
  const answer = await chat({ tools });
  assert.deepEqual(answer.message.tool_calls.map((c) => c.function), [{ name: "clock", arguments: zone }]);
  const calls = [];
  for await (const part of await chat({ tools, stream: true })) calls.push(...(part.message.tool_calls ?? []));
  assert.deepEqual(calls.map((c) => c.function.arguments), [zone]);
  const messages = [...hello, answer.message, { role: "tool", tool_name: "clock", content: "12:00" }];
  assert.equal((await chat({ messages, tools })).message.content, says);
});

test("answers of a form", async () => {
  isOfSchema((await chat({ format: schema, options: { ...options, num_predict: 400 } })).message.content);
});

test("what the server says of itself, and vectors", async () => {
  assert.deepEqual((await client.list()).models.map((m) => m.name), ["parrot"]);
  assert.equal((await client.ps()).models.length, 1);
  const shown = await client.show({ model: "parrot" });
  assert.ok(shown.capabilities.includes("completion"));
  assert.equal(shown.model_info["opt.embedding_length"], 64);
  const vectors = await client.embed({ model: "parrot", input: ["a", "b"] });
  assert.equal(vectors.embeddings.length, 2);
  assert.equal((await client.embeddings({ model: "parrot", prompt: "a" })).embedding.length, 64);
});

test("errors", async () => {
  await assert.rejects(chat({ options: { temperature: -1 } }), /options.temperature/);
  await assert.rejects(chat({ options: { num_ctx: 100000 } }), /num_ctx/);
  await assert.rejects(client.pull({ model: "other" }), /hunch pull/);
  await assert.rejects(new Ollama({ host: url }).list(), /API key/);
});

test("a client that leaves in the middle of a stream", () =>
  leaves(async () => {
    const stream = await chat({ messages: count, stream: true });
    for await (const _ of stream) break;
    stream.abort();
  }));
