// A turn of a conversation, with what can be done to it.
import { copyText, h, put, refill, signButton } from "./dom";
import { AnswerView } from "./answer_view";
import { chosen, textOf, type Conversation, type Turn } from "./types";

export interface TurnActions {
  retry(): void;
  // The reader's new text of the turn.
  edit(index: number, text: string): void;
  busy(): boolean;
}

export class TurnView {
  readonly element: HTMLElement;
  answers: AnswerView[] = [];
  private readonly content = h("div", { class: "turn-content" });
  private readonly actions = h("div", { class: "actions" });

  constructor(
    private readonly conversation: Conversation,
    readonly index: number,
    private readonly does: TurnActions,
  ) {
    const who = this.turn.role === "user" ? "You" : "Model";
    this.element = h("article", { class: `turn ${this.turn.role}`, "aria-label": `${who}, ${index + 1}` }, h("h2", { class: "who" }, who), this.content, this.actions);
    this.show();
  }

  private get turn(): Turn {
    return this.conversation.turns[this.index]!;
  }
  private get isLast(): boolean {
    return this.index === this.conversation.turns.length - 1;
  }

  show(): void {
    const turn = this.turn;
    this.answers = [];
    refill(this.content);
    if (turn.role === "user") {
      put(this.content, h("div", { class: "plain" }, turn.text));
      for (const file of turn.files)
        put(this.content, h("details", { class: "file" }, h("summary", {}, `${file.name} (${file.text.length.toLocaleString("en")} characters)`), h("pre", { tabindex: "0", "aria-label": file.name }, file.text)));
    } else {
      const isMarkdown = this.conversation.kind === "chat";
      const two = turn.answers.length > 1;
      this.answers = turn.answers.map((answer) => new AnswerView(answer, isMarkdown, two ? answer.mode : ""));
      const agreement = two ? h("p", { class: "agreement" }) : null;
      put(this.content, h("div", { class: two ? "answers two" : "answers" }, ...this.answers.map((view) => view.element)), agreement);
      this.agreement = agreement;
      this.compare();
    }
    this.showActions();
  }

  private agreement: HTMLElement | null = null;

  // How far two answers are the same.
  compare(): void {
    const turn = this.turn;
    if (!this.agreement || turn.role !== "assistant") return;
    const [a, b] = turn.answers.map((answer) => answer.pieces.map((piece) => piece.text)) as [string[], string[]];
    const n = Math.min(a.length, b.length);
    let same = 0;
    while (same < n && a[same] === b[same]) ++same;
    this.agreement.textContent =
      n === 0 ? "" : same === n ? `The same so far: ${n} tokens.` : `The first ${same} tokens are the same.`;
    if (turn.answers.every((answer) => answer.state === "done") && same === n && a.length === b.length)
      this.agreement.textContent = `Both are the same, to the last of ${n} tokens.`;
  }

  showActions(): void {
    const busy = this.does.busy();
    const turn = this.turn;
    refill(
      this.actions,
      signButton("copy", "Copy", () => void copyText(this.text())),
      signButton("edit", "Edit", () => this.edit(), { disabled: busy }),
      turn.role === "assistant" && this.isLast && signButton("retry", "Retry", () => this.does.retry(), { disabled: busy }),
    );
  }

  private text(): string {
    const turn = this.turn;
    return turn.role === "user" ? turn.text : textOf(chosen(turn.answers));
  }

  private edit(): void {
    const text = this.text();
    const area = h("textarea", { "aria-label": "New text", rows: Math.min(20, text.split("\n").length + 2), onkeydown: (event: KeyboardEvent) => {
      if (event.key === "Escape") cancel();
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    } }, text);
    const cancel = (): void => {
      this.show();
      (this.actions.querySelector("[aria-label=Edit]") as HTMLElement | null)?.focus();
    };
    const save = (): void => this.does.edit(this.index, area.value);
    const nLater = this.conversation.turns.length - 1 - this.index;
    const asks = this.turn.role === "user";
    const note = asks && nLater > 1 ? `What follows (${nLater} turns) is removed.` : "";
    refill(
      this.content,
      area,
      h("div", { class: "edit-buttons" },
        h("button", { type: "button", class: "primary", onclick: save }, asks ? "Send" : "Save"),
        h("button", { type: "button", onclick: cancel }, "Cancel"),
        h("small", {}, note)),
    );
    refill(this.actions);
    area.focus();
  }
}
