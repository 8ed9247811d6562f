// An answer token by token: coloured by how sure the model was, with the alternatives on hover, focus or touch.
import { h, percent, put, refill } from "./dom";
import { kindNames, kinds, type Answer, type Token, type Use } from "./types";

export const meanOf = (shares: (number | null)[]): number | null => {
  const known = shares.filter((s): s is number => s !== null);
  return known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length / 1000 : null;
};

export function useInWords(use: Use | null): string {
  if (!use) return "";
  const parts: string[] = [];
  for (const kind of kinds) {
    const mean = use[kind] && meanOf(use[kind]);
    if (mean !== null && mean !== undefined) parts.push(`${kindNames[kind]} ${percent(mean)}`);
  }
  return parts.join(", ");
}

// White space that would not be seen otherwise.
export const shown = (text: string): string => text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ | $/g, "␣") || "∅";

const popover = h("div", { class: "popover", id: "token-popover", role: "tooltip", hidden: true });

export function tokenDetails(token: Token): Node[] {
  const out: Node[] = [h("div", { class: "popover-head" }, h("b", {}, shown(token.text)), token.p === null ? "" : ` ${percent(token.p)}`)];
  if (token.top.length > 0) {
    const list = h("ol", { class: "alternatives" });
    for (const [text, p] of token.top) {
      const bar = h("i", { "aria-hidden": "true" });
      bar.style.width = `${Math.max(1, p * 100)}%`;
      put(list, h("li", text === token.text ? { class: "chosen" } : {}, h("span", {}, shown(text)), h("span", {}, percent(p)), bar));
    }
    out.push(list);
  }
  const use = useInWords(token.use);
  if (use) out.push(h("div", { class: "popover-use" }, `Used: ${use}`));
  return out;
}

function showPopover(at: HTMLElement, tokens: Token[]): void {
  refill(popover, ...tokens.flatMap(tokenDetails));
  if (!popover.isConnected) document.body.append(popover);
  popover.hidden = false;
  const box = at.getClientRects()[0] ?? at.getBoundingClientRect();
  const width = popover.offsetWidth, height = popover.offsetHeight;
  popover.style.left = `${Math.max(8, Math.min(box.left, innerWidth - width - 8))}px`;
  popover.style.top = `${box.bottom + height + 8 < innerHeight ? box.bottom + 4 : Math.max(8, box.top - height - 4)}px`;
  at.setAttribute("aria-describedby", popover.id);
}
export function hidePopover(): void {
  popover.hidden = true;
}

// Follows the answer as it grows: update() adds what is new. `onpick` is told of the token that is looked at.
export class TokenView {
  readonly element: HTMLElement;
  private readonly spans: HTMLElement[] = [];
  private readonly firstToken: number[] = []; // of each piece
  private nTokens = 0;

  constructor(
    private readonly answer: Answer,
    private readonly onpick: (token: number) => void,
  ) {
    this.element = h("div", {
      class: "tokens", role: "listbox", "aria-label": "Tokens of the answer", "aria-orientation": "horizontal",
      onkeydown: (event: KeyboardEvent) => this.onkey(event),
      onmouseleave: hidePopover,
    });
    this.update();
  }

  update(): void {
    for (let i = this.spans.length; i < this.answer.pieces.length; ++i) {
      const piece = this.answer.pieces[i]!;
      const look = (): void => {
        if (piece.tokens.length > 0) showPopover(span, piece.tokens);
        this.mark(this.firstToken[i]!);
        this.onpick(this.firstToken[i]!);
      };
      const span = h("span", {
        class: piece.thinking ? "token thinking" : "token", role: "option", tabindex: i === 0 ? 0 : -1,
        "aria-selected": "false", onmouseenter: look, onfocus: look, onblur: hidePopover,
        onclick: () => span.focus(),
      }, piece.text);
      if (piece.text.trim() === "") span.setAttribute("aria-label", shown(piece.text));
      const known = piece.tokens.filter((token) => token.p !== null);
      if (known.length > 0) span.style.setProperty("--doubt", String(1 - Math.min(...known.map((token) => token.p!))));
      this.firstToken.push(this.nTokens);
      this.nTokens += piece.tokens.length;
      this.spans.push(span);
      put(this.element, span);
    }
  }

  mark(token: number): void {
    const piece = this.firstToken.findLastIndex((first) => first <= token);
    this.spans.forEach((span, i) => span.setAttribute("aria-selected", String(i === piece)));
  }

  private onkey(event: KeyboardEvent): void {
    const at = this.spans.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.spans.length - 1 }[event.key];
    if (event.key === "Escape") hidePopover();
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = this.spans[Math.max(0, Math.min(to, this.spans.length - 1))]!;
    this.spans[at]!.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
