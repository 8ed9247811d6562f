// Markdown of answers as DOM nodes: a subset that models write. HTML in it is text, images are links, and links go to
// http, https and mailto only. Time grows with the length of the text alone: a mark that is not closed is looked for once,
// and what is nested more deeply than kDepth is text.
import { copyText, h, put, signButton } from "./dom";

const kDepth = 12;
const itemStart = /^( *)([-*+]|\d{1,9}[.)])( +|$)/;
const tableLine = /^ *\|?(?: *:?-+:? *\|)+ *(?::?-+:? *)?\|? *$/;

export function renderMarkdown(text: string): DocumentFragment {
  const out = document.createDocumentFragment();
  blocks(text.replace(/\r\n?/g, "\n").split("\n"), out, 0);
  return out;
}

const indentOf = (line: string): number => line.length - line.trimStart().length;
const isRule = (line: string): boolean => /^ {0,3}([-*_])( *\1){2,} *$/.test(line);
const startsBlock = (line: string): boolean =>
  /^ {0,3}(#{1,6} |```|~~~|>)/.test(line) || isRule(line) || itemStart.test(line);

function blocks(lines: string[], out: Node, depth: number): void {
  if (depth > kDepth) return put(out, h("p", {}, lines.join("\n")));
  for (let i = 0; i < lines.length; ) {
    const line = lines[i]!;
    const fence = /^( {0,3})(`{3,}|~{3,})([^`]*)$/.exec(line);
    const heading = /^ {0,3}(#{1,6}) +(.*?)(?: +#+)? *$/.exec(line);
    if (!line.trim()) {
      ++i;
    } else if (fence) {
      const end = new RegExp(`^ {0,3}${fence[2]![0]}{${fence[2]!.length},} *$`);
      const code: string[] = [];
      for (++i; i < lines.length && !end.test(lines[i]!); ++i)
        code.push(lines[i]!.slice(Math.min(fence[1]!.length, indentOf(lines[i]!))));
      ++i;
      put(out, codeBlock(code.join("\n"), fence[3]!.trim().split(/\s/)[0] ?? ""));
    } else if (heading) {
      // The page's own headings are h1 and h2.
      const level = Math.min(6, heading[1]!.length + 2) as 3 | 4 | 5 | 6;
      const element = h(`h${level}`);
      inline(heading[2]!, element);
      put(out, element);
      ++i;
    } else if (isRule(line)) {
      put(out, h("hr"));
      ++i;
    } else if (/^ {0,3}>/.test(line)) {
      const inner: string[] = [];
      for (; i < lines.length && /^ {0,3}>/.test(lines[i]!); ++i) inner.push(lines[i]!.replace(/^ {0,3}> ?/, ""));
      const quote = h("blockquote");
      blocks(inner, quote, depth + 1);
      put(out, quote);
    } else if (itemStart.test(line)) {
      i = list(lines, i, out, depth);
    } else if (line.includes("|") && tableLine.test(lines[i + 1] ?? "")) {
      i = table(lines, i, out);
    } else {
      const paragraph = [line.trim()];
      for (++i; i < lines.length && lines[i]!.trim() && !startsBlock(lines[i]!); ++i) paragraph.push(lines[i]!.trim());
      const p = h("p");
      inline(paragraph.join("\n"), p);
      put(out, p);
    }
  }
}

function list(lines: string[], i: number, out: Node, depth: number): number {
  const first = itemStart.exec(lines[i]!)!;
  const ordered = /\d/.test(first[2]!);
  const base = first[1]!.length;
  const element = h(ordered ? "ol" : "ul");
  if (ordered && parseInt(first[2]!) !== 1) element.setAttribute("start", String(parseInt(first[2]!)));
  while (i < lines.length) {
    const match = itemStart.exec(lines[i]!);
    if (!match || match[1]!.length > base + 1 || match[1]!.length < base || /\d/.test(match[2]!) !== ordered || isRule(lines[i]!)) break;
    const inner = [lines[i]!.slice(match[0].length)];
    for (++i; i < lines.length; ++i) {
      const line = lines[i]!;
      const next = lines[i + 1] ?? "";
      if (!line.trim()) {
        if (!next.trim() || indentOf(next) <= base) break;
      } else if (indentOf(line) <= base && startsBlock(line)) break;
      inner.push(line.slice(Math.min(indentOf(line), base + 2)));
    }
    const item = h("li");
    const only = inner.length === 1 || inner.slice(1).every((line) => line.trim() && !startsBlock(line));
    if (only) inline(inner.map((line) => line.trim()).join("\n"), item);
    else blocks(inner, item, depth + 1);
    put(element, item);
    let after = i; // items may stand apart
    while (after < lines.length && !lines[after]!.trim()) ++after;
    if (after < lines.length && itemStart.test(lines[after]!)) i = after;
  }
  put(out, element);
  return i;
}

function cells(line: string): string[] {
  return line.trim().replace(/^\|/, "").replace(/\|$/, "").split("|").map((cell) => cell.trim());
}

function table(lines: string[], i: number, out: Node): number {
  const row = (tag: "th" | "td", texts: string[], n: number): HTMLElement => {
    const tr = h("tr");
    for (let k = 0; k < n; ++k) {
      const cell = h(tag, tag === "th" ? { scope: "col" } : {});
      inline(texts[k] ?? "", cell);
      put(tr, cell);
    }
    return tr;
  };
  const head = cells(lines[i]!);
  const body = h("tbody");
  const element = h("table", {}, h("thead", {}, row("th", head, head.length)), body);
  for (i += 2; i < lines.length && lines[i]!.includes("|"); ++i) put(body, row("td", cells(lines[i]!), head.length));
  put(out, h("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": "Table" }, element));
  return i;
}

function codeBlock(code: string, language: string): HTMLElement {
  const copy = signButton("copy", "Copy the code", () => void copyText(code));
  return h(
    "figure",
    { class: "code" },
    h("figcaption", {}, h("span", {}, language.slice(0, 30) || "text"), copy),
    h("pre", { tabindex: "0", "aria-label": "Code" }, h("code", {}, code)),
  );
}

function linkTo(address: string, text: Node | string): Node | string {
  return /^(https?:\/\/|mailto:)/i.test(address) ? h("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" }, text) : text;
}

const marks: [string, "strong" | "em" | "del"][] = [
  ["**", "strong"],
  ["__", "strong"],
  ["~~", "del"],
  ["*", "em"],
  ["_", "em"],
];

function inline(text: string, out: Node, depth = 0): void {
  const hopeless = new Set<string>(); // marks that are not closed from here on
  const find = (mark: string, from: number): number => {
    if (hopeless.has(mark)) return -1;
    const at = text.indexOf(mark, from);
    if (at < 0) hopeless.add(mark);
    return at;
  };
  let plain = "";
  const flush = (): void => {
    plain.split("\n").forEach((line, k) => put(out, k > 0 && h("br"), line));
    plain = "";
  };
  const isWord = (c: string | undefined): boolean => c !== undefined && /[\p{L}\p{N}]/u.test(c);
  next: for (let i = 0; i < text.length; ) {
    const c = text[i]!;
    if (c === "\\" && /[!-/:-@[-`{-~]/.test(text[i + 1] ?? "")) {
      plain += text[i + 1];
      i += 2;
      continue;
    }
    if (c === "`") {
      let n = i;
      while (text[n] === "`") ++n;
      const ticks = text.slice(i, n);
      const end = find(ticks, n);
      if (end >= 0 && text[end + ticks.length] !== "`") {
        flush();
        const code = text.slice(n, end);
        put(out, h("code", {}, /^ .* $/.test(code) && code.trim() ? code.slice(1, -1) : code));
        i = end + ticks.length;
      } else {
        plain += ticks;
        i = n;
      }
      continue;
    }
    if ("*_~".includes(c) && depth < kDepth)
      for (const [mark, tag] of marks) {
        if (!text.startsWith(mark, i)) continue;
        const begin = i + mark.length;
        const opens = /\S/.test(text[begin] ?? " ") && !(c === "_" && isWord(text[i - 1]));
        let end = opens ? find(mark, begin + 1) : -1;
        while (mark.length === 1 && end >= 0 && text[end + 1] === mark) end = find(mark, end + 2); // that closes others
        if (end < 0 || /\s/.test(text[end - 1]!) || (c === "_" && isWord(text[end + mark.length]))) continue;
        flush();
        const element = h(tag);
        inline(text.slice(begin, end), element, depth + 1);
        put(out, element);
        i = end + mark.length;
        continue next;
      }
    if (c === "[" && depth < kDepth) {
      const middle = find("](", i + 1);
      const near = middle < 0 || middle - i > 500 ? "" : text.slice(middle + 2, middle + 2002);
      const end = middle + 2 + near.indexOf(")");
      const address = near.includes(")") ? text.slice(middle + 2, end).trim().split(/\s/)[0]! : "";
      if (address && !text.slice(i + 1, middle).includes("[")) {
        if (plain.endsWith("!")) plain = plain.slice(0, -1);
        flush();
        const label = document.createDocumentFragment();
        inline(text.slice(i + 1, middle) || address, label, kDepth);
        put(out, linkTo(address, label));
        i = end + 1;
        continue;
      }
    }
    if (c === "h" && !isWord(text[i - 1])) {
      const url = /^https?:\/\/[^\s<>"'`)\]]+[^\s<>"'`)\].,;:!?*_]/.exec(text.slice(i, i + 2000));
      if (url) {
        flush();
        put(out, linkTo(url[0], url[0]));
        i += url[0].length;
        continue;
      }
    }
    plain += c;
    ++i;
  }
  flush();
}
