// What every client is asked for: the server's address, and what its model says (tests/cli/parrot.py).
import assert from "node:assert/strict";

export const url = process.env.HUNCH_URL;
export const apiKey = process.env.HUNCH_KEY;
export const says = "Hello there, friend.";
export const counts = "one two three ";
export const hello = [{ role: "user", content: "hello" }];
export const count = [{ role: "user", content: "count" }];
// A second turn, after the model's first.
export const conversation = [
  { role: "user", content: "hello" },
  { role: "assistant", content: says },
  { role: "user", content: "and again" },
];
export const clock = {
  name: "clock",
  description: "The time of day",
  parameters: { type: "object", properties: { zone: { type: "string" } }, required: ["zone"] },
};
export const zone = { zone: "UTC" };

async function metric(name) {
  const response = await fetch(url + "/metrics", { headers: { authorization: `Bearer ${apiKey}` } });
  const line = (await response.text()).split("\n").find((l) => l.startsWith(name + " "));
  return Number(line.split(" ")[1]);
}

// Runs `start`, which begins a long stream and leaves it: the server notices.
export async function leaves(start) {
  const before = await metric("hunch:jobs_cancelled_total");
  await start();
  for (let i = 0; i < 500; ++i) {
    if ((await metric("hunch:jobs_cancelled_total")) > before) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("the server goes on with an answer whose client has left");
}

export async function collect(stream, text) {
  let out = "";
  for await (const part of stream) out += text(part) ?? "";
  return out;
}

// An answer of this form has little to say, whatever the model would rather.
export const schema = {
  type: "object",
  properties: { ok: { type: "boolean" } },
  required: ["ok"],
  additionalProperties: false,
};
export function isOfSchema(text) {
  const value = JSON.parse(text);
  assert.deepEqual(Object.keys(value), ["ok"]);
  assert.equal(typeof value.ok, "boolean");
}
// Of a tool that the model does not call by itself.
export const lamp = {
  name: "lamp",
  description: "Switches the light",
  parameters: { type: "object", properties: { on: { type: "boolean" } }, required: ["on"], additionalProperties: false },
};
