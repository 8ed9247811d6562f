// The page at / in Chromium, against hunch serve. Run by ctest (tests/web/run.sh has what it needs).
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, answer, answerWith, demo, done, finish, fits, launch, open, send, serve, shoot, slowly } from "./support.mjs";

let text, chat, slow; // servers: one that continues texts, one that talks, one that takes its time
before(async () => {
  [text, chat, slow] = await Promise.all([serve(demo), serve(demo, "--template-file", "plain"), serve(demo, "--mode", "dense"), launch()]);
  slow = await slowly(slow);
});
after(finish);

const short = { max_tokens: "24", temperature: "0.9" };

test("a text goes on, live, with figures and the picture", async () => {
  const page = await open(slow.url, { settings: { max_tokens: "60" } });
  assert.match(await page.locator(".notice").innerText(), /no chat template/);
  await send(page, "Once upon a time there was");
  const lengths = new Set();
  while (await page.locator(".answer.busy").count()) lengths.add((await answer(page)).length);
  await done(page);
  assert.ok(lengths.size > 3, `seen at lengths ${[...lengths]}`);
  assert.match(await page.locator(".figures").innerText(), /[\d.]+ tokens\/s · 60 tokens · first after .* · prompt \d+ .*ended by the most tokens/);
  assert.equal(await page.locator(".summary-text").innerText(), "neurons 100 % · heads 100 % · cached tokens 100 %");
  // It goes on from there, by its own text, when nothing is added.
  await page.locator(".composer .primary").click();
  await done(page);
  assert.equal(await page.locator(".turn.assistant").count(), 2);
  await page.check();
});

test("stop keeps what is there, retry and edit make it anew", async () => {
  const page = await open(slow.url, { settings: { max_tokens: "400" } });
  await send(page, "The old king");
  await page.waitForFunction(() => document.querySelector(".answer-body")?.innerText.length > 20);
  await page.getByRole("button", { name: "Stop" }).click();
  await done(page);
  assert.match(await page.locator(".figures").innerText(), /stopped/);
  const stopped = await answer(page);
  assert.ok(stopped.length > 20);
  await page.getByLabel("Most tokens").fill("20");
  await page.getByRole("button", { name: "Retry" }).click();
  await done(page);
  assert.notEqual(await answer(page), stopped);
  assert.equal(await page.locator(".turn").count(), 2);
  assert.match(await page.locator(".figures").innerText(), /20 tokens/);
  // The answer, by hand.
  await page.locator(".turn.assistant").getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("New text").fill(" said nothing.");
  await page.getByRole("button", { name: "Save" }).click();
  assert.equal((await answer(page)).trim(), "said nothing.");
  // The question: what follows it goes.
  await send(page, " Then");
  await done(page);
  assert.equal(await page.locator(".turn").count(), 4);
  await page.locator(".turn.user").first().getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("New text").fill("The young queen");
  assert.match(await page.locator(".edit-buttons").innerText(), /3 turns/);
  await page.locator(".edit-buttons").getByRole("button", { name: "Send" }).click();
  await done(page);
  assert.deepEqual(await page.locator(".turn .turn-content > .plain").allInnerTexts(), ["The young queen"]);
  assert.equal(await page.locator(".turn").count(), 2);
  await page.check();
});

test("conversations are kept, several of them", async () => {
  const page = await open(text.url, { settings: short });
  await send(page, "First text");
  await done(page);
  const first = await answer(page);
  await page.getByRole("button", { name: "New conversation" }).first().click();
  await send(page, "Second text");
  await done(page);
  const names = () => page.locator(".conversations .name").allInnerTexts();
  assert.deepEqual(await names(), ["Second text", "First text"]);
  await page.reload();
  await page.locator(".turn.assistant").waitFor();
  assert.deepEqual(await names(), ["Second text", "First text"]);
  await page.locator(".conversations .name", { hasText: "First text" }).click();
  assert.equal(await answer(page), first);
  assert.match(await page.locator(".summary-text").innerText(), /neurons \d+ %/);
  await page.getByRole("button", { name: "Rename First text" }).click();
  await page.getByLabel("New name").fill("Renamed");
  await page.keyboard.press("Enter");
  assert.deepEqual(await names(), ["Second text", "Renamed"]);
  await page.getByRole("button", { name: "Delete Second text" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".conversations li").length === 1);
  await page.reload();
  await page.locator(".turn.assistant").waitFor();
  assert.deepEqual(await names(), ["Renamed"]);
  await page.check();
});

test("the picture tells dense from exact, side by side", async () => {
  const page = await open(text.url, { settings: { ...short, beside: true, temperature: "0", max_tokens: "40", mode: "exact" } });
  await send(page, "The old king went to");
  await done(page);
  assert.deepEqual(await page.locator(".answer-label").allInnerTexts(), ["dense", "exact"]);
  const used = (await page.locator(".summary-text").allInnerTexts()).map((s) => Number(/neurons ([\d.]+) %/.exec(s)[1]));
  assert.equal(used[0], 100);
  assert.ok(used[1] > 1 && used[1] < 60, `exact used ${used[1]} %`);
  assert.match(await page.locator(".agreement").innerText(), /Both are the same, to the last of 4\d tokens/);
  await page.locator(".sparsity").last().getByLabel("Token to look at").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.match(await page.locator(".readout").last().innerText(), /^Token 3 “.+”: neurons \d+ % \([\d.]+ % to [\d.]+ %\), heads 100 %, cached tokens 100 %$/);
  assert.equal(await page.locator(".sparsity").last().locator(".columns i").count(), 6);
  await shoot(page, "beside");
  // Sparse answers come from the sidecar's predictors; density is theirs.
  await page.getByLabel("Mode", { exact: true }).selectOption("sparse");
  await page.getByLabel("Density, %").fill("10");
  await page.getByRole("button", { name: "Retry" }).click();
  await done(page);
  assert.deepEqual(await page.locator(".answer-label").allInnerTexts(), ["dense", "sparse"]);
  const sparse = Number(/neurons ([\d.]+) %/.exec(await page.locator(".summary-text").last().innerText())[1]);
  assert.ok(sparse < used[1] + 10, `sparse used ${sparse} %`);
  await page.check();
});

test("tokens have their probabilities and alternatives, by mouse and keyboard", async () => {
  const page = await open(text.url, { settings: { ...short, view: "tokens" } });
  await send(page, "Once upon a time");
  await done(page);
  const tokens = page.locator(".token");
  assert.ok((await tokens.count()) >= 20);
  assert.equal((await tokens.allInnerTexts()).join("").trim().length > 20, true);
  const doubts = await tokens.evaluateAll((all) => all.map((e) => Number(e.style.getPropertyValue("--doubt"))));
  assert.ok(Math.max(...doubts) > 0.3 && doubts.every((d) => d >= 0 && d <= 1), `${doubts}`);
  await tokens.nth(4).hover();
  const popover = page.getByRole("tooltip");
  assert.match(await popover.innerText(), /%[\s\S]*Used: neurons/);
  assert.ok((await popover.locator("li").count()) >= 5);
  await shoot(page, "tokens");
  await tokens.first().focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await tokens.nth(1).evaluate((e) => e === document.activeElement), true);
  assert.equal(await tokens.nth(1).getAttribute("aria-selected"), "true");
  assert.match(await page.locator(".readout").innerText(), /^Token 2 /);
  await page.keyboard.press("Escape");
  assert.equal(await popover.isVisible(), false);
  await page.getByRole("button", { name: "Tokens" }).click();
  assert.equal(await tokens.count(), 0);
  await page.check();
});

const hostile = `<img src=x onerror="document.title='pwned'"><script>document.title='pwned'</script>
<iframe src="javascript:parent.document.title='pwned'"></iframe>

[a](javascript:document.title='pwned') [b](data:text/html,<script>1</script>) ![c](https://example.com/pixel.png)
[d](https://example.com/"onmouseover="document.title='pwned') <a href="https://example.com" onclick="1">e</a>

| <b>x</b> | y |
| --- | --- |
| <svg onload=document.title='pwned'> | [z](vbscript:x) |

\`\`\`"><script>document.title='pwned'</script>
</code></pre><script>document.title='pwned'</script>
\`\`\`
- <style>body{display:none}</style>
`;

test("nothing in a text is more than text", async () => {
  const page = await open(chat.url, { settings: { ...short, view: "text" } });
  await answerWith(page, hostile, { thinking: hostile });
  await send(page, hostile);
  await done(page);
  await page.locator(".thinking summary").click();
  assert.equal(await page.locator(".log").locator("img, script, iframe, svg:not(.icon), style, object, form").count(), 0);
  assert.equal(await page.title(), "hunch");
  const links = await page.locator(".log a").evaluateAll((all) => all.map((a) => [a.protocol, a.rel, a.getAttributeNames().filter((n) => n.startsWith("on")).length]));
  assert.ok(links.length >= 2);
  for (const link of links) assert.deepEqual(link, ["https:", "noopener noreferrer nofollow", 0]);
  assert.match(await page.locator(".prose").innerText(), /<img src=x onerror=/);
  assert.match(await page.locator(".turn.user .plain").innerText(), /<script>document\.title/);
  await page.getByRole("button", { name: "Tokens" }).click();
  assert.equal(await page.locator(".log").locator("img, script, iframe, svg:not(.icon), style").count(), 0);
  // Names of files and errors of servers are texts too.
  await page.unroute("**/v1/chat/completions");
  await page.route("**/v1/chat/completions", (route) => route.fulfill({ status: 400, contentType: "application/json", body: JSON.stringify({ error: { message: hostile } }) }));
  page.expectedErrors = /400/;
  await page.locator("input[type=file]").setInputFiles({ name: "<img src=x onerror=alert(1)>.txt", mimeType: "text/plain", buffer: Buffer.from(hostile) });
  await send(page, "x");
  await done(page);
  assert.match(await page.locator(".answer .failure").last().innerText(), /<img src=x/);
  assert.equal(await page.locator("img, iframe, .log script").count(), 0);
  assert.equal(await page.title(), "hunch");
  await page.check();
});

const markdown = `# Title

A **bold** and *slanted* \`code\` text with a [link](https://example.com/a?b=c) and https://example.com/bare.

1. one
2. two
   - inner *item*
   - other

> quoted
> on

| Left | Right |
| --- | ---: |
| 1 | 2 |

\`\`\`python
def f(x):
    return "<b>" + x * 2  # long ${"x".repeat(200)}
\`\`\`

---
snake_case_name and 2 * 3 * 4 and \\*stars\\*, a${"b".repeat(300)}`;

test("markdown is shown as what it means", async () => {
  const page = await open(chat.url, { settings: short, permissions: ["clipboard-read", "clipboard-write"] });
  await answerWith(page, markdown);
  await send(page, "Show me");
  await done(page);
  const prose = page.locator(".prose");
  assert.equal(await prose.locator("h3").innerText(), "Title");
  assert.equal(await prose.locator("strong").innerText(), "bold");
  assert.deepEqual(await prose.locator("em").allInnerTexts(), ["slanted", "item"]);
  assert.deepEqual(await prose.locator("ol > li").evaluateAll((l) => l.map((e) => e.firstChild.textContent.trim())), ["one", "two"]);
  assert.equal(await prose.locator("ol ul li").count(), 2);
  assert.equal(await prose.locator("blockquote").innerText(), "quoted\non");
  assert.deepEqual(await prose.locator("td").allInnerTexts(), ["1", "2"]);
  assert.equal(await prose.locator("a").count(), 2);
  assert.match(await prose.locator("pre").innerText(), /^def f\(x\):\n    return "<b>" \+ x \* 2 {2}#/);
  assert.match(await prose.locator("p").last().innerText(), /^snake_case_name and 2 \* 3 \* 4 and \*stars\*/);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await page.getByRole("button", { name: "Copy the code" }).click();
  await page.waitForFunction(() => document.querySelector("#announcer").textContent === "Copied.");
  assert.match(await clipboard(), /^def f\(x\):\n/);
  await page.evaluate(() => (navigator.clipboard.writeText = () => Promise.reject(new Error("as by plain HTTP"))));
  await page.locator(".turn.assistant").getByRole("button", { name: "Copy", exact: true }).click();
  await page.waitForFunction(async () => (await navigator.clipboard.readText()).startsWith("# Title"));
  await accessible(page, "markdown");
  await page.setViewportSize({ width: 390, height: 844 });
  await fits(page, "markdown at 390");
  await shoot(page, "markdown-390");
  await page.check();
});

test("a chat sends its turns, its files and its settings", async () => {
  const page = await open(chat.url, { settings: { ...short, system: "Be kind.", stop: "###\nEND", seed: "7" } });
  await page.locator("input[type=file]").setInputFiles([
    { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("a ``` b") },
    { name: "picture.png", mimeType: "image/png", buffer: Buffer.from([0x89, 0x50, 0, 0xff]) },
  ]);
  await page.getByText("picture.png is no text in UTF-8.").waitFor();
  const asked = page.waitForRequest("**/v1/chat/completions");
  await send(page, "Hello");
  const body = (await asked).postDataJSON();
  await done(page);
  assert.deepEqual(body.messages, [{ role: "system", content: "Be kind." }, { role: "user", content: "Hello\n\nnotes.txt:\n````\na ``` b\n````" }]);
  assert.deepEqual([body.stream, body.trace, body.logprobs, body.top_logprobs, body.seed, body.stop, body.max_tokens, body.temperature], [true, true, true, 5, 7, ["###", "END"], 24, 0.9]);
  assert.equal("mode" in body, false);
  assert.match(await page.locator(".figures").innerText(), /tokens\/s/);
  // Nothing is asked of the engine that the reader does not want to see.
  await page.getByLabel("Picture of the sparsity").uncheck();
  await page.getByLabel("Confidence").uncheck();
  const again = page.waitForRequest("**/v1/chat/completions");
  await send(page, "And now?");
  const plain = (await again).postDataJSON();
  await done(page);
  assert.deepEqual(plain.messages.map((m) => m.role), ["system", "user", "assistant", "user"]);
  assert.equal("trace" in plain || "logprobs" in plain, false);
  assert.equal(await page.locator(".sparsity:visible").count(), 0);
  await page.check();
});

test("a server that asks for a key gets it", async () => {
  const closed = await serve(demo, "--api-key", "sesame");
  const page = await open(text.url);
  page.expectedErrors = /401/;
  const opened = page.goto(closed.url).catch(() => {});
  await opened;
  await page.getByLabel("API key").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("That key is not the server's.").waitFor();
  await accessible(page, "key dialog");
  await page.getByLabel("API key").fill("sesame");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByLabel("Most tokens").fill("5");
  await send(page, "Open");
  await done(page);
  assert.match(await page.locator(".figures").innerText(), /5 tokens/);
  await page.reload();
  await page.locator(".turn.assistant").waitFor();
  closed.child.kill("SIGKILL");
  page.expectedErrors = /ERR_|Failed to load/;
  await send(page, "More");
  await page.getByText("The server does not answer.").waitFor();
  await page.context().close();
});

test("a narrow screen, in light and dark", async () => {
  const page = await open(text.url, { width: 390, height: 844, settings: { ...short, view: "tokens", beside: true, max_tokens: "60" } });
  await send(page, `${"verylongword".repeat(20)} Once upon`);
  await done(page);
  await fits(page, "tokens");
  await accessible(page, "tokens at 390, light");
  await shoot(page, "narrow-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, "tokens at 390, dark");
  await shoot(page, "narrow-dark");
  await page.getByRole("button", { name: "Tokens" }).click();
  await fits(page, "text");
  for (const name of ["Settings", "Conversations"]) {
    await page.getByRole("button", { name, exact: true }).click();
    await fits(page, name);
    await accessible(page, `${name} at 390, dark`);
    await shoot(page, `narrow-${name}`);
    await page.keyboard.press("Escape");
    assert.equal(await page.getByRole("button", { name, exact: true }).getAttribute("aria-expanded"), "false");
  }
  await page.check();
});

test("by the keyboard alone, with names for everything", async () => {
  const page = await open(text.url, { settings: { ...short, view: "tokens" } });
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("aria-label")), "Text to continue");
  await page.keyboard.type("Once upon");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("a time");
  await page.keyboard.press("Enter");
  await done(page);
  assert.equal(await page.locator(".turn.user .plain").innerText(), "Once upon\na time");
  await page.waitForFunction(() => /The answer is there/.test(document.querySelector("#announcer").textContent));
  await accessible(page, "wide, light");
  // Through the page and around.
  const seen = [];
  for (let i = 0; i < 80; ++i) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement;
      const ring = getComputedStyle(e).outlineStyle !== "none";
      return e === document.body ? "" : `${ring ? "" : "no ring: "}${e.getAttribute("aria-label") ?? e.innerText ?? e.id}`;
    });
    if (at !== "" && !seen.includes(at)) seen.push(at);
  }
  assert.deepEqual(seen.filter((s) => s.startsWith("no ring")), []);
  for (const name of ["Skip to the conversation", "New conversation", "Copy", "Edit", "Retry", "Token to look at", "Add text files"]) assert.ok(seen.includes(name), `${name} of ${seen}`);
  // Dark by the button.
  const button = page.getByRole("button", { name: /^Colours/ });
  await button.press("Enter");
  await button.press("Enter");
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(23, 22, 20)");
  await accessible(page, "wide, dark");
  await shoot(page, "wide-dark");
  await page.reload();
  await page.waitForFunction(() => document.documentElement.dataset.theme === "dark");
  await page.check();
});

test("one of several models", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hunch-page-"));
  for (const name of ["first", "second"]) symlinkSync(demo, join(folder, `${name}.gguf`));
  writeFileSync(join(folder, "zzz-broken.gguf"), "GGUF, it says");
  const several = await serve(`--models-dir=${folder}`);
  const page = await open(several.url, { settings: short });
  const chooser = page.getByLabel("Model", { exact: true });
  assert.deepEqual(await chooser.locator("option").allInnerTexts(), ["first", "second", "zzz-broken"]);
  assert.equal(await chooser.inputValue(), "first");
  await chooser.selectOption("second");
  await page.locator(".hint", { hasText: "second," }).waitFor();
  await send(page, "Once upon");
  await done(page);
  assert.ok((await answer(page)).length > 10);
  const status = async () => Object.fromEntries((await (await fetch(`${several.url}v1/models`)).json()).data.map((m) => [m.id, m.status.value]));
  assert.deepEqual(await status(), { first: "loaded", second: "loaded", "zzz-broken": "unloaded" });
  await fits(page, "the chooser");
  await accessible(page, "the chooser");
  // One that cannot be loaded: what is wrong with it, and the way back.
  page.expectedErrors = /500/;
  await chooser.selectOption("zzz-broken");
  assert.match(await page.getByRole("alert").innerText(), /zzz-broken' cannot be loaded/);
  assert.equal(await page.getByLabel("Model").locator("option").last().innerText(), "zzz-broken");
  await page.getByLabel("Model").selectOption("first");
  await page.locator(".composer textarea").waitFor();
  await page.reload();
  await page.locator(".composer textarea").waitFor();
  assert.equal(await chooser.inputValue(), "first");
  await page.check();
  rmSync(folder, { recursive: true });
});

test("the colours are there before the server answers", async () => {
  const page = await open(text.url, { settings: short });
  await page.evaluate(() => localStorage.setItem("hunch.theme", "dark"));
  let go;
  await page.route("**/props", async (route) => {
    await new Promise((resolve) => (go = resolve));
    await route.continue();
  });
  await page.reload();
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(23, 22, 20)");
  go();
  await page.locator(".composer textarea").waitFor();
  await page.check();
});
