// What the tests of the page share: servers, the browser, and what must hold of every page that was opened.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createServer, request } from "node:http";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const source = process.env.HUNCH_SOURCE_DIR;
const binary = process.env.HUNCH_BINARY;
const require = createRequire(join(source, "web", "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const demo = join(source, "models", "demo", "hunch-demo.gguf");
const servers = [];

export async function serve(model, ...args) {
  const child = spawn(binary, ["serve", model, "--port", "0", "--json", "--threads", "1", ...args], { stdio: ["ignore", "pipe", "ignore"] });
  servers.push(child);
  for await (const line of createInterface({ input: child.stdout })) return { url: JSON.parse(line).url + "/", child };
  throw new Error("the server did not start");
}

// The same server, whose streams take 30 ms an event: what happens while an answer is made can be looked at on any machine.
export async function slowly(server) {
  const target = new URL(server.url);
  const proxy = createServer((asked, reply) => {
    const { origin, ...headers } = asked.headers;
    const out = request({ host: target.hostname, port: target.port, path: asked.url, method: asked.method, headers: { ...headers, host: target.host } }, (incoming) => {
      reply.writeHead(incoming.statusCode, incoming.headers);
      // An answer may end early on either side: a page that stops it, servers that are stopped with the tests.
      slowed(incoming, reply).catch(() => reply.destroy());
    });
    out.on("error", () => reply.destroy());
    reply.on("close", () => out.destroy());
    asked.pipe(out);
  });
  await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  proxies.push(proxy);
  return { url: `http://127.0.0.1:${proxy.address().port}/` };
}
async function slowed(incoming, reply) {
  const isStream = /event-stream/.test(incoming.headers["content-type"]);
  let kept = "";
  for await (const chunk of incoming) {
    if (!isStream) {
      reply.write(chunk);
      continue;
    }
    const events = (kept + chunk.toString("latin1")).split("\n\n");
    kept = events.pop();
    for (const event of events) {
      if (reply.destroyed) return;
      reply.write(Buffer.from(`${event}\n\n`, "latin1"));
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  }
  reply.end(Buffer.from(kept, "latin1"));
}
const proxies = [];

let browser;
export async function launch() {
  browser = await chromium.launch({ executablePath: process.env.HUNCH_CHROMIUM, args: ["--no-sandbox"] });
}
export async function finish() {
  await browser?.close();
  for (const proxy of proxies) {
    proxy.close();
    proxy.closeAllConnections();
  }
  for (const child of servers) child.kill("SIGKILL");
}

// A page in a browser profile of its own. check() closes it, after what must hold of all pages: nothing was asked of
// another server, no error in the console, no violation of the policy.
export async function open(url, { width = 1280, height = 800, colorScheme = "light", settings = {}, ...more } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, ...more });
  await context.addInitScript((s) => {
    const kept = JSON.parse(localStorage.getItem("hunch.settings") ?? "null");
    if (!kept) localStorage.setItem("hunch.settings", JSON.stringify(s));
  }, settings);
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const problems = [];
  page.on("pageerror", (error) => problems.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error" && !page.expectedErrors?.test(message.text())) problems.push(`console: ${message.text()}`);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) problems.push(`asked elsewhere: ${request.url()}`);
  });
  page.on("dialog", (dialog) => {
    if (dialog.type() === "alert") problems.push(`alert: ${dialog.message()}`);
    void dialog.accept();
  });
  page.check = async () => {
    await context.close();
    assert.deepEqual(problems, []);
  };
  await page.goto(url);
  await page.locator(".composer textarea").waitFor();
  return page;
}

// A file, as somebody opens it.
export async function look(path, { width = 1280, height = 800, colorScheme = "light" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => problems.push(message.text()));
  page.on("request", (request) => {
    if (request.url() !== `file://${path}`) problems.push(`asked for ${request.url()}`);
  });
  page.check = async () => {
    await context.close();
    assert.deepEqual(problems, []);
  };
  await page.goto(`file://${path}`);
  return page;
}

// What a verb of hunch prints.
export const hunch = (...words) => execFileSync(binary, words, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });

export const send = async (page, text) => {
  await page.locator(".composer textarea").fill(text);
  await page.locator(".composer .primary").click();
};
export const done = (page) => page.waitForFunction(() => document.querySelector(".turn.assistant") && !document.querySelector(".answer.busy") && !document.querySelector(".primary.stop"));
export const answer = (page) => page.locator(".turn.assistant .answer-body").last().innerText();

export async function accessible(page, what) {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(axe);  // which the page's policy does not bind
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  assert.deepEqual(result.violations.map((v) => `${what}: ${v.id}: ${v.nodes.map((n) => n.html.slice(0, 120) + " " + (n.any[0]?.message ?? "")).slice(0, 2).join(" | ")}`), []);
}

export async function fits(page, what) {
  const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide <= inner, `${what}: ${wide} pixels of ${inner}`);
  const out = await page.evaluate(() => {
    const scrolls = (e) => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible" || scrolls(e.parentElement));
    return [...document.querySelectorAll("main *, header *")]
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement) && !e.closest(".unseen, .skip"))
      .map((e) => e.outerHTML.slice(0, 100));
  });
  assert.deepEqual(out, [], what);
  const log = await page.evaluate(() => { const l = document.querySelector(".log"); return l.scrollWidth - l.clientWidth; });
  assert.ok(log <= 0, `${what}: the conversation scrolls sideways by ${log} pixels`);
}

export const shoot = async (page, name, more = {}) => {
  if (process.env.HUNCH_SCREENSHOTS) await page.screenshot({ path: join(process.env.HUNCH_SCREENSHOTS, `${name}.png`), ...more });
};

// The stream that a server would send for this text, some characters at a time, for answers that no model gives on order.
export function streamOf(text, { thinking = "" } = {}) {
  const event = (delta, finish = null) => `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;
  let out = event({ role: "assistant", content: "" });
  if (thinking) out += event({ reasoning_content: thinking });
  for (let i = 0; i < text.length; i += 7) out += event({ content: text.slice(i, i + 7) });
  out += event({}, "stop");
  out += `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 5, completion_tokens: 9, total_tokens: 14 } })}\n\n`;
  return out + "data: [DONE]\n\n";
}
export const answerWith = (page, text, more) =>
  page.route("**/v1/chat/completions", (route) => route.fulfill({ status: 200, contentType: "text/event-stream", body: streamOf(text, more) }));
