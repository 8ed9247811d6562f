// The reports of `hunch inspect --html` in Chromium: legible on a telephone, every value without a mouse, nothing cut.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { accessible, demo, finish, hunch, launch, look, shoot, source } from "./support.mjs";

const folder = mkdtempSync(join(tmpdir(), "hunch-report-"));
const text = join(source, "models", "demo", "eval.txt");
const reports = {};
before(async () => {
  await launch();
  const name = join(folder, "a-model-with-a-name-as-long-as-file-names-of-quantised-models-are-Instruct-v2.5-Q4_K_M.gguf");
  const shape = ["--n-layer", "3", "--n-embd", "128", "--n-ff", "256", "--n-head", "4", "--n-kv-head", "2", "--n-vocab", "1024", "--n-ctx", "256", "--contexts", "8", "--density", "0.3"];
  const planted = join(folder, "planted.txt");
  hunch("synth", "--shape", "llama-1.1b", "-o", name, ...shape, "--text", planted, "--text-tokens", "600", "--quiet");
  for (const [key, model, words, ...more] of [["relu", demo, text], ["gated", name, planted, "--ctx", "128"]]) {
    reports[key] = join(folder, `${key}.html`);
    hunch("inspect", model, "--text", words, "--tokens", "384", "--oracle-tokens", "64", "--html", reports[key], "--quiet", ...more);
  }
  for (const [key, ...more] of [["weights", "--weights", "--text", text, "--tokens", "128"], ["workload", "--workload", "--bandwidth", "20", "--peak", "200"]]) {
    reports[key] = join(folder, `${key}.html`);
    hunch("inspect", demo, ...more, "--html", reports[key], "--quiet");
  }
});
after(async () => {
  await finish();
  rmSync(folder, { recursive: true });
});

// Elements that reach beyond the window and cannot be scrolled to, and the least size of letters, in pixels of the screen.
const measured = () => {
  const scrolls = (e) => e && e !== document.body && (getComputedStyle(e).overflowX === "auto" || scrolls(e.parentElement));
  const beyond = [...document.querySelectorAll("main *")]
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e.parentElement))
    .map((e) => e.outerHTML.slice(0, 100));
  const letters = [...document.querySelectorAll("main *")].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .filter((e) => e.tagName !== "title").map((e) => {
      const svg = e.closest("svg");
      return parseFloat(getComputedStyle(e).fontSize) * (svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1);
    });
  const cut = [...document.querySelectorAll("svg")].flatMap((svg) => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter((t) => {
      const b = t.getBoundingClientRect();
      return b.left < box.left - 1 || b.right > box.right + 1 || b.top < box.top - 1 || b.bottom > box.bottom + 1;
    }).map((t) => `${svg.closest("figure").id}: ${t.textContent}`);
  });
  const headings = [...document.querySelectorAll("h1, h2")].filter((h) => h.scrollWidth > h.clientWidth + 1 || h.scrollHeight > h.clientHeight + 2)
    .map((h) => h.textContent);
  return { wide: document.documentElement.scrollWidth - innerWidth, beyond, letters: Math.min(...letters), cut, headings };
};

for (const [width, height] of [[390, 844], [320, 640], [1280, 800]])
  for (const key of ["relu", "gated", "weights", "workload"])
    test(`${key}: everything can be read at ${width} pixels`, async () => {
      const page = await look(reports[key], { width, height });
      const found = await page.evaluate(measured);
      assert.ok(found.wide <= 0, `the page scrolls sideways by ${found.wide} pixels`);
      assert.deepEqual(found.beyond, []);
      assert.deepEqual(found.cut, [], "letters outside of their figure");
      assert.deepEqual(found.headings, []);
      assert.ok(found.letters >= 10, `letters of ${found.letters} pixels`);
      await shoot(page, `report-${key}-${width}`, { fullPage: true });
      await page.check();
    });

test("values and wide figures are reached by the keyboard", async () => {
  const page = await look(reports.relu, { width: 390, height: 844 });
  const n = await page.locator("details").count();
  assert.ok(n > 6);
  assert.ok(await page.locator("#attention details details").count() > 1, "a list for each map");
  const reached = new Set(), scrolled = new Set();
  for (let i = 0; i < 200; ++i) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const e = document.activeElement, figure = e?.closest("figure, section")?.id ?? "";
      return { tag: e?.tagName, figure, list: [...document.querySelectorAll("summary")].indexOf(e), scroller: e?.classList.contains("wide"), ring: e && getComputedStyle(e).outlineStyle !== "none" };
    });
    if (at.tag === "BODY") break;
    assert.ok(at.ring, "what has the focus shows it");
    if (at.scroller) {
      const before = await page.evaluate(() => document.activeElement.scrollLeft);
      await page.keyboard.press("ArrowRight");
      await page.waitForFunction((b) => document.activeElement.scrollLeft > b, before);
      scrolled.add(at.figure);
    }
    if (at.tag === "SUMMARY") {
      await page.keyboard.press("Enter");
      assert.ok(await page.evaluate(() => document.activeElement.parentElement.open));
      reached.add(at.list);
    }
  }
  assert.equal(reached.size, n);
  assert.ok(scrolled.size >= await page.locator("figure svg").count(), `scrolled: ${[...scrolled]}`);
  const values = await page.locator("details li").first().innerText();
  assert.match(values, /\d/);
  const said = await page.locator("#attention details details li").last().innerText();
  assert.match(said, /^"[^]*" \(\d+\) looks at "[^]*" \(\d+\) [\d.]+ %/);
  const found = await page.evaluate(measured);
  assert.ok(found.wide <= 0 && found.beyond.length === 0, "opened values fit too");
  await page.check();
});

for (const colorScheme of ["light", "dark"])
  test(`no violation of accessibility, ${colorScheme}`, async () => {
    for (const key of ["relu", "gated", "weights", "workload"]) {
      const page = await look(reports[key], { width: 390, height: 844, colorScheme });
      await accessible(page, `${key}, ${colorScheme}`);
      await page.check();
    }
  });

test("says what made it", async () => {
  const page = await look(reports.relu);
  assert.match(await page.locator("main").innerText(), /Made by hunch inspect .* \(hunch \d+\.\d+.*, .* on \d+ threads\)/);
  await page.check();
});
