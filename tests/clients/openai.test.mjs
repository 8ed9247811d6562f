// The official client of OpenAI's API: chat completions, responses, embeddings.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import {
  apiKey, clock, collect, conversation, count, counts, hello, isOfSchema, lamp, leaves, says, schema, url, zone,
} from "./common.mjs";

const client = new OpenAI({ baseURL: url + "/v1", apiKey, maxRetries: 0 });
const chat = (more) => client.chat.completions.create({ model: "parrot", messages: hello, temperature: 0, ...more });
const respond = (more) => client.responses.create({ model: "parrot", input: "hello", temperature: 0, ...more });

test("chat: an answer, a stream, a second turn, a stop", async () => {
  const answer = await chat();
  assert.equal(answer.choices[0].message.content, says);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.prompt_tokens > 0 && answer.usage.completion_tokens > 0);
  assert.equal(await collect(await chat({ stream: true }), (e) => e.choices[0]?.delta.content), says);
  assert.equal((await chat({ messages: conversation })).choices[0].message.content, says);
  assert.equal((await chat({ stop: " friend" })).choices[0].message.content, "Hello there,");
  assert.equal((await chat({ messages: count, max_tokens: 6 })).choices[0].finish_reason, "length");
});

test("chat: calls of tools, whole and streamed, and their results", async () => {
  const tools = [{ type: "function", function: clock }];
  const answer = (await chat({ tools })).choices[0];
  assert.equal(answer.finish_reason, "tool_calls");
  const [call] = answer.message.tool_calls;
  assert.equal(call.function.name, "clock");
  assert.deepEqual(JSON.parse(call.function.arguments), zone);
  const runner = client.chat.completions.stream({ model: "parrot", messages: hello, tools, temperature: 0 });
  const streamed = (await runner.finalChatCompletion()).choices[0].message.tool_calls[0];
  assert.deepEqual(JSON.parse(streamed.function.arguments), zone);
  const messages = [...hello, answer.message, { role: "tool", tool_call_id: call.id, content: "12:00" }];
  assert.equal((await chat({ messages, tools })).choices[0].message.content, says);
});

test("answers of a form, and calls that are forced", async () => {
  const response_format = { type: "json_schema", json_schema: { name: "form", strict: true, schema } };
  isOfSchema((await chat({ response_format, max_tokens: 400 })).choices[0].message.content);
  const text = { format: { type: "json_schema", name: "form", strict: true, schema } };
  isOfSchema((await respond({ text, max_output_tokens: 400 })).output_text);
  const forced = await chat({ tools: [{ type: "function", function: lamp }], tool_choice: "required", max_tokens: 400 });
  assert.equal(typeof JSON.parse(forced.choices[0].message.tool_calls[0].function.arguments).on, "boolean");
});

test("completions, models and embeddings", async () => {
  const text = await client.completions.create({ model: "parrot", prompt: "a <p:say>", temperature: 0 });
  assert.equal(text.choices[0].text, says);
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  assert.deepEqual(models, ["parrot"]);
  assert.equal((await client.models.retrieve("parrot")).id, "parrot");
  await assert.rejects(client.models.retrieve("other"), OpenAI.NotFoundError);
  const vectors = await client.embeddings.create({ model: "parrot", input: ["a", "b"] });
  assert.equal(vectors.data.length, 2);
  const length = Math.hypot(...vectors.data[0].embedding);
  assert.ok(Math.abs(length - 1) < 1e-3, `${length}`);
});

test("errors have the client's own types", async () => {
  await assert.rejects(chat({ temperature: -1 }), (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
  const stranger = new OpenAI({ baseURL: url + "/v1", apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test("a client that leaves in the middle of a stream", () =>
  leaves(async () => {
    const stream = await chat({ messages: count, stream: true });
    for await (const _ of stream) break;
    stream.controller.abort();
  }));

test("responses: an answer, a stream, a second turn by its id", async () => {
  const first = await respond();
  assert.equal(first.output_text, says);
  assert.equal(first.status, "completed");
  const events = [];
  for await (const event of await respond({ stream: true })) events.push(event);
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  const types = events.map((e) => e.type);
  assert.deepEqual([...new Set(types)], [
    "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
    "response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done",
    "response.completed"]);
  assert.equal(events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join(""), says);
  assert.equal(events.at(-1).response.output[0].content[0].text, says);
  const second = await respond({ input: "and again", previous_response_id: first.id });
  assert.ok(second.usage.input_tokens > first.usage.input_tokens + 5);
  assert.equal((await client.responses.retrieve(second.id)).id, second.id);
  await client.responses.delete(second.id);
  await assert.rejects(client.responses.retrieve(second.id), OpenAI.NotFoundError);
  await assert.rejects(respond({ previous_response_id: "resp_0" }), (e) => e.code === "previous_response_not_found");
  const cut = await respond({ input: "count", max_output_tokens: 3 });
  assert.equal(cut.incomplete_details.reason, "max_output_tokens");
  assert.equal(cut.output_text, counts);
});

test("responses: thinking and calls are items of their own", async () => {
  const thinks = await respond({ reasoning: { effort: "high" } });
  assert.deepEqual(thinks.output.map((item) => item.type), ["reasoning", "message"]);
  assert.equal(thinks.output[0].content[0].text, "let me see");
  assert.equal(thinks.output_text, "Indeed.");
  assert.ok(thinks.usage.output_tokens_details.reasoning_tokens > 0);
  const tools = [{ type: "function", ...clock, strict: false }];
  const called = await client.responses.stream({ model: "parrot", input: "hello", tools, temperature: 0 }).finalResponse();
  const [call] = called.output;
  assert.equal(call.type, "function_call");
  assert.deepEqual(JSON.parse(call.arguments), zone);
  const input = [{ role: "user", content: "hello" }, call, { type: "function_call_output", call_id: call.call_id, output: "12:00" }];
  assert.equal((await respond({ input, tools })).output_text, says);
});

test("responses: a client that leaves", () =>
  leaves(async () => {
    const stream = await respond({ input: "count", stream: true });
    for await (const event of stream) if (event.type === "response.output_text.delta") break;
    stream.controller.abort();
  }));
