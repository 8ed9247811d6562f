// Elements without a framework. Texts become text nodes: nothing here, and nothing else in the page, parses HTML.

import { icon, type IconName } from "./icons";

type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

// h("button", { class: "x", onclick: f, "aria-label": "Close" }, "text"). Functions are listeners; true and false set or
// leave out an attribute; null and undefined leave it out.
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  put(element, ...children);
  return element;
}

export function put(parent: Node, ...children: Child[]): void {
  for (const child of children)
    if (child !== null && child !== undefined && child !== false)
      parent.appendChild(typeof child === "string" ? document.createTextNode(child) : child);
}

export function refill(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  put(parent, ...children);
}

// A button that is only a drawing, with its name for those who do not see it.
export function signButton(sign: IconName, name: string, onclick: (event: Event) => void, more: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "sign", "aria-label": name, title: name, onclick, ...more }, icon(sign));
}

// Tells screen readers, and nobody else.
export function announce(text: string): void {
  const region = document.getElementById("announcer");
  if (region) region.textContent = text;
}

// To the clipboard; pages of other machines by plain HTTP have the old way only.
export async function copyText(text: string): Promise<void> {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const before = document.activeElement as HTMLElement | null;
    const area = h("textarea", { class: "unseen", "aria-hidden": "true", tabindex: -1 }, text);
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    before?.focus();
  }
  announce(done ? "Copied." : "The browser does not let the page copy.");
}

export const percent = (share: number): string => {
  const p = share * 100;
  return `${p > 0 && p < 0.95 ? p.toFixed(1) : Math.round(p)} %`;
};
