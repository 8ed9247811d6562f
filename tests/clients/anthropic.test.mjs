// The official client of Anthropic's API.
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";
import { test } from "node:test";
import { apiKey, clock, conversation, count, hello, isOfSchema, lamp, leaves, says, schema, url, zone } from "./common.mjs";

const client = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
const asked = { model: "parrot", max_tokens: 50, messages: hello, temperature: 0 };
const ask = (more) => client.messages.create({ ...asked, ...more });
const tools = [{ name: clock.name, description: clock.description, input_schema: clock.parameters }];

test("an answer, a stream, a second turn, a system text, a stop", async () => {
  const answer = await ask();
  assert.deepEqual(answer.content, [{ type: "text", text: says }]);
  assert.equal(answer.stop_reason, "end_turn");
  assert.ok(answer.usage.output_tokens > 0);
  const stream = client.messages.stream(asked);
  let text = "";
  stream.on("text", (part) => (text += part));
  const whole = await stream.finalMessage();
  assert.equal(text, says);
  assert.deepEqual(whole.content, [{ type: "text", text: says }]);
  assert.equal(whole.stop_reason, "end_turn");
  assert.equal(whole.usage.output_tokens, answer.usage.output_tokens);
  assert.equal((await ask({ messages: conversation, system: [{ type: "text", text: "Be kind." }] })).content[0].text, says);
  const stopped = await ask({ stop_sequences: [" never", " friend"] });
  assert.equal(stopped.content[0].text, "Hello there,");
  assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", " friend"]);
  assert.equal((await ask({ messages: count, max_tokens: 5 })).stop_reason, "max_tokens");
  assert.ok((await client.messages.countTokens({ model: "parrot", messages: hello })).input_tokens > 3);
});

test("thinking is a block of its own", async () => {
  const whole = await client.messages.stream({ ...asked, thinking: { type: "enabled", budget_tokens: 1024 } }).finalMessage();
  assert.deepEqual(whole.content.map((b) => b.thinking ?? b.text), ["let me see", "Indeed."]);
  assert.equal((await ask({ thinking: { type: "disabled" } })).content[0].text, says);
});

test("calls of tools, whole and streamed, and their results", async () => {
  for (const answer of [await ask({ tools }), await client.messages.stream({ ...asked, tools }).finalMessage()]) {
    assert.equal(answer.stop_reason, "tool_use");
    const [call] = answer.content;
    assert.deepEqual([call.type, call.name, call.input], ["tool_use", "clock", zone]);
    const result = [{ type: "tool_result", tool_use_id: call.id, content: [{ type: "text", text: "12:00" }] }];
    const messages = [...hello, { role: "assistant", content: answer.content }, { role: "user", content: result }];
    assert.equal((await ask({ messages, tools })).content[0].text, says);
  }
});

test("answers of a form, and calls that are forced", async () => {
  const output_config = { format: { type: "json_schema", schema } };
  isOfSchema((await ask({ output_config, max_tokens: 400 })).content[0].text);
  const lamps = [{ name: lamp.name, description: lamp.description, input_schema: lamp.parameters }];
  const forced = await ask({ tools: lamps, tool_choice: { type: "tool", name: "lamp" }, max_tokens: 400 });
  assert.equal(forced.stop_reason, "tool_use");
  assert.equal(typeof forced.content.at(-1).input.on, "boolean");
});

test("errors have the client's own types", async () => {
  await assert.rejects(ask({ temperature: -1 }), (e) =>
    e instanceof Anthropic.BadRequestError && e.error.error.type === "invalid_request_error");
  const stranger = new Anthropic({ baseURL: url, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.messages.create(asked), Anthropic.AuthenticationError);
});

test("a client that leaves in the middle of a stream", () =>
  leaves(async () => {
    const stream = await ask({ messages: count, max_tokens: 4000, stream: true });
    for await (const event of stream) if (event.type === "content_block_delta") break;
    stream.controller.abort();
  }));
