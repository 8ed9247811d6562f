// One answer: its text or its tokens, what it used, what it took.
import { h, percent, put, refill } from "./dom";
import { renderMarkdown } from "./markdown";
import { settings } from "./settings";
import { SparsityView } from "./sparsity_view";
import { TokenView } from "./token_view";
import { isBusy, textOf, thinkingOf, type Answer } from "./types";

export class AnswerView {
  readonly element: HTMLElement;
  private readonly body = h("div", { class: "answer-body" });
  private readonly figures = h("p", { class: "figures" });
  private readonly failure = h("p", { class: "failure", role: "alert", hidden: true });
  private readonly sparsity: SparsityView;
  private tokens: TokenView | null = null;
  private frame = 0;
  private due = 0; // when it may be made anew: long texts take longer
  private drawn = "";

  constructor(
    readonly answer: Answer,
    private readonly isMarkdown: boolean,
    label: string,
  ) {
    this.sparsity = new SparsityView(answer, (token) => this.tokens?.mark(token));
    this.element = h("div", { class: "answer" }, label ? h("p", { class: "answer-label" }, label) : null, this.body, this.failure, this.figures, this.sparsity.element);
    this.update();
  }

  // Soon: many events of a stream make one change.
  changed(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (performance.now() < this.due && isBusy(this.answer)) return this.changed();
      this.update();
    });
  }

  update(): void {
    const began = performance.now();
    const answer = this.answer;
    this.element.classList.toggle("busy", isBusy(answer));
    if (settings.view === "tokens" && answer.edited === null && answer.pieces.length > 0) this.showTokens();
    else this.showText();
    this.sparsity.element.classList.toggle("off", !settings.trace || answer.edited !== null);
    if (settings.trace && answer.edited === null) this.sparsity.update();
    this.failure.hidden = answer.error === "";
    if (this.failure.textContent !== answer.error) this.failure.textContent = answer.error;
    this.figures.textContent = figuresOf(answer);
    this.due = performance.now() + 5 * (performance.now() - began);
  }

  redraw(): void {
    this.drawn = "";
    this.update();
    this.sparsity.redraw();
  }

  private showTokens(): void {
    if (this.tokens) return this.tokens.update();
    this.tokens = new TokenView(this.answer, (token) => this.sparsity.pick(token));
    refill(this.body, this.tokens.element);
    this.drawn = "";
  }

  private showText(): void {
    const text = textOf(this.answer), thinking = thinkingOf(this.answer);
    const all = `${thinking}\0${text}`;
    if (!this.tokens && all === this.drawn) return;
    this.tokens = null;
    this.drawn = all;
    const wasOpen = this.body.querySelector("details")?.open ?? false;
    refill(this.body);
    if (thinking) put(this.body, h("details", { class: "thinking", open: wasOpen }, h("summary", {}, "Thinking"), h("div", { class: "plain" }, thinking)));
    put(this.body, this.isMarkdown ? h("div", { class: "prose" }, renderMarkdown(text)) : h("div", { class: "plain" }, text));
  }
}

const finishes: Record<string, string> = { length: "ended by the most tokens or the context" };

function figuresOf(answer: Answer): string {
  if (answer.state === "waiting") return "waiting …";
  const parts: string[] = [];
  if (answer.nTokens > 1 && answer.decodeMs > 0) parts.push(`${((answer.nTokens - 1) / (answer.decodeMs / 1000)).toFixed(1)} tokens/s`);
  if (answer.nTokens > 0) parts.push(`${answer.nTokens} token${answer.nTokens === 1 ? "" : "s"}`);
  if (answer.firstMs > 0) parts.push(`first after ${answer.firstMs < 1000 ? `${Math.round(answer.firstMs)} ms` : `${(answer.firstMs / 1000).toFixed(1)} s`}`);
  if (answer.nPrompt > 0) parts.push(`prompt ${answer.nPrompt}` + (answer.nCached > 0 ? ` (${answer.nCached} remembered)` : ""));
  const known = answer.pieces.flatMap((piece) => piece.tokens).filter((token) => token.p !== null);
  if (known.length > 0 && answer.edited === null)
    parts.push(`mean confidence ${percent(known.reduce((sum, token) => sum + token.p!, 0) / known.length)}`);
  if (answer.state === "stopped") parts.push("stopped");
  if (answer.state === "done" && finishes[answer.finish]) parts.push(finishes[answer.finish]!);
  if (answer.edited !== null) parts.push("edited");
  return parts.join(" · ");
}
