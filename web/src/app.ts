// The page: which conversation is open, and what happens to it.
import type { Model, Props } from "./api";
import { bodyOf, fill } from "./ask";
import { Composer } from "./composer";
import { icon } from "./icons";
import { announce, h, put, refill } from "./dom";
import { modelChooser } from "./model_chooser";
import { keepSettings, settings, settingsForm } from "./settings";
import { Sidebar } from "./sidebar";
import * as store from "./store";
import { themeButton } from "./theme";
import { hidePopover } from "./token_view";
import { TurnView } from "./turn_view";
import { chosen, newAnswer, textOf, type Conversation, type TextFile } from "./types";

const newId = (): string => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;

export class App {
  private conversations: Conversation[] = [];
  private open: Conversation;
  private views: TurnView[] = [];
  private running: AbortController | null = null;
  private readonly closed = new AbortController(); // when another model takes the page over
  private readonly sidebar: Sidebar;
  private readonly composer: Composer;
  private readonly log = h("div", { class: "log", id: "log", tabindex: "-1", role: "region", "aria-label": "Conversation" });
  private readonly tokensButton: HTMLButtonElement;
  private readonly drawers: Record<"sidebar" | "settings", { panel: HTMLElement; button: HTMLButtonElement }>;

  // `models`: those that it can be changed for; none where the server has one.
  constructor(
    private readonly server: Props,
    private readonly models: Model[],
    private readonly change: (model: string) => void,
  ) {
    this.open = this.fresh();
    this.sidebar = new Sidebar({
      fresh: () => this.show(this.fresh()),
      open: (id) => this.show(this.conversations.find((c) => c.id === id) ?? this.fresh()),
      rename: (id, title) => this.rename(id, title),
      remove: (id) => void this.remove(id),
    });
    this.composer = new Composer({ send: (text, files) => this.send(text, files), stop: () => this.running?.abort() });
    this.tokensButton = h("button", { type: "button", class: "toggle", "aria-pressed": String(settings.view === "tokens"), onclick: () => this.toggleTokens() }, "Tokens");
    const panel = h("aside", { class: "panel", id: "settings", "aria-label": "Settings" }, settingsForm(server, () => this.onsettings()));
    const drawer = (name: "sidebar" | "settings", label: string): HTMLButtonElement =>
      h("button", { type: "button", class: "toggle drawer-button", "aria-controls": name, "aria-expanded": "false", "aria-label": label, title: label, onclick: () => this.toggleDrawer(name) }, icon(name === "sidebar" ? "menu" : "settings"), h("span", { class: "label" }, label));
    this.drawers = {
      sidebar: { panel: this.sidebar.element, button: drawer("sidebar", "Conversations") },
      settings: { panel, button: drawer("settings", "Settings") },
    };
    this.build();
  }

  async start(): Promise<void> {
    this.conversations = await store.loadAll().catch(() => []);
    const last = localStorage.getItem("hunch.open");
    if (this.open.turns.length > 0) return this.showList(); // somebody was faster
    this.show(this.conversations.find((c) => c.id === last) ?? this.open);
  }

  private build(): void {
    const isChat = this.server.chat_template !== "";
    const header = h(
      "header",
      { class: "top" },
      this.drawers.sidebar.button,
      h("h1", {}, h("span", { class: "brand" }, "hunch"), this.models.length > 0 ? null : h("span", { class: "model" }, this.server.model_alias)),
      this.models.length > 0 && modelChooser(this.models, this.server.model_alias, (model) => this.leave(model)),
      this.tokensButton,
      this.drawers.settings.button,
      themeButton(() => this.redraw(), this.closed.signal),
    );
    const main = h("main", {}, this.log, this.composer.element);
    if (!isChat) main.prepend(h("p", { class: "notice" }, "This model has no chat template: it continues what you write."));
    const announcer = h("div", { id: "announcer", class: "unseen", role: "status" });
    document.body.replaceChildren(h("a", { class: "skip", href: "#log" }, "Skip to the conversation"), header, h("div", { class: "columns-page" }, this.sidebar.element, main, this.drawers.settings.panel), announcer);
    const arrange = (): void => {
      this.setDrawer("sidebar", innerWidth >= 800);
      this.setDrawer("settings", innerWidth >= 1100);
    };
    arrange();
    for (const width of [800, 1100]) matchMedia(`(min-width: ${width}px)`).addEventListener("change", arrange, { signal: this.closed.signal });
    const onkey = (event: KeyboardEvent): void => {
      if (event.key !== "Escape") return;
      hidePopover();
      if (innerWidth < 800) for (const name of ["sidebar", "settings"] as const) this.setDrawer(name, false);
    };
    document.addEventListener("keydown", onkey, { signal: this.closed.signal });
    this.log.addEventListener("scroll", hidePopover, { passive: true });
    // Before the kept conversations are read: what is typed meanwhile is written, not lost.
    this.composer.setKind(this.open.kind);
    this.composer.focus();
  }

  private leave(model: string): void {
    this.running?.abort();
    this.closed.abort();
    this.change(model);
  }

  private toggleDrawer(name: "sidebar" | "settings"): void {
    const open = this.drawers[name].panel.hidden === true;
    if (open && innerWidth < 800) this.setDrawer(name === "sidebar" ? "settings" : "sidebar", false);
    this.setDrawer(name, open);
    if (open && innerWidth < 800) (this.drawers[name].panel.querySelector("button, select, input") as HTMLElement | null)?.focus();
  }
  private setDrawer(name: "sidebar" | "settings", open: boolean): void {
    this.drawers[name].panel.hidden = !open;
    this.drawers[name].button.setAttribute("aria-expanded", String(open));
  }

  private toggleTokens(): void {
    settings.view = settings.view === "tokens" ? "text" : "tokens";
    this.tokensButton.setAttribute("aria-pressed", String(settings.view === "tokens"));
    keepSettings();
    this.onsettings();
  }

  private onsettings(): void {
    hidePopover();
    for (const view of this.views) for (const answer of view.answers) answer.update();
  }
  private redraw(): void {
    for (const view of this.views) for (const answer of view.answers) answer.redraw();
  }

  private fresh(): Conversation {
    return { id: newId(), title: "", kind: this.server.chat_template ? "chat" : "text", turns: [], changed: Date.now() };
  }

  private show(conversation: Conversation): void {
    if (conversation !== this.open) this.running?.abort();
    this.open = conversation;
    localStorage.setItem("hunch.open", conversation.id);
    this.composer.setKind(conversation.kind);
    this.showTurns();
    if (innerWidth < 800) this.setDrawer("sidebar", false);
    this.showList();
    this.composer.focus();
  }

  private showList(): void {
    const listed = this.conversations.includes(this.open) ? this.conversations : [this.open, ...this.conversations];
    this.sidebar.show(listed, this.open.id);
  }

  private showTurns(): void {
    hidePopover();
    this.views = this.open.turns.map((_, i) => this.viewOf(i));
    refill(this.log, ...this.views.map((view) => view.element));
    if (this.views.length === 0) put(this.log, this.welcome());
    this.log.scrollTop = this.log.scrollHeight;
  }

  private viewOf(index: number): TurnView {
    return new TurnView(this.open, index, {
      retry: () => this.answer(),
      edit: (i, text) => this.edit(i, text),
      busy: () => this.running !== null,
    });
  }

  private welcome(): HTMLElement {
    const ctx = this.server.default_generation_settings.n_ctx;
    return h(
      "div",
      { class: "welcome" },
      h("p", {}, this.open.kind === "chat" ? "Ask something." : "Write how a text begins."),
      h("p", { class: "hint" }, `${this.server.model_alias}, ${ctx.toLocaleString("en")} tokens of context, mode ${this.server.mode}. Nothing leaves this machine but to its own server.`),
    );
  }

  private keep(conversation: Conversation): void {
    conversation.changed = Date.now();
    this.conversations = [conversation, ...this.conversations.filter((c) => c !== conversation)];
    store.save(conversation).catch(() => announce("The browser could not keep this conversation."));
  }

  private rename(id: string, title: string): void {
    const found = this.conversations.find((c) => c.id === id);
    if (found && title && found.title !== title) {
      found.title = title;
      void store.save(found).catch(() => {});
    }
    this.showList();
  }

  private async remove(id: string): Promise<void> {
    this.conversations = this.conversations.filter((c) => c.id !== id);
    await store.remove(id).catch(() => {});
    if (this.open.id === id) this.show(this.fresh());
    else this.showList();
  }

  private send(text: string, files: TextFile[]): void {
    if (this.running) return;
    const isNew = text !== "" || files.length > 0;
    if (!isNew && this.open.turns.length === 0) return;
    if (isNew) this.open.turns.push({ role: "user", text, files });
    this.open.title ||= text.trim().replace(/\s+/g, " ").slice(0, 40) || files[0]?.name || "";
    this.showTurns();
    void this.run();
  }

  private answer(): void {
    if (this.running) return;
    if (this.open.turns.at(-1)?.role === "assistant") this.open.turns.pop();
    this.showTurns();
    void this.run();
  }

  private edit(index: number, text: string): void {
    const turn = this.open.turns[index]!;
    if (turn.role === "assistant") {
      const answer = chosen(turn.answers);
      if (text !== textOf(answer)) answer.edited = text;
      this.keep(this.open);
      this.views[index]!.show();
      return;
    }
    turn.text = text;
    this.open.turns.length = index + 1;
    this.showTurns();
    void this.run();
  }

  // Makes the answer, or two, after the last turn. The conversation stays this one, whatever is opened meanwhile.
  private async run(): Promise<void> {
    const conversation = this.open;
    const nTurns = conversation.turns.length;
    const mode = settings.mode || this.server.mode;
    const answers = settings.beside ? [newAnswer("dense"), newAnswer(mode)] : [newAnswer(mode)];
    conversation.turns.push({ role: "assistant", answers });
    this.running = new AbortController();
    const signal = this.running.signal;
    const seed = settings.seed.trim() !== "" ? Number(settings.seed) : Math.floor(Math.random() * 2 ** 31);
    if (nTurns === 0) refill(this.log);
    const view = this.viewOf(nTurns);
    this.views.push(view);
    put(this.log, view.element);
    this.composer.setBusy(true);
    for (const each of this.views) each.showActions();
    this.keep(conversation);
    this.showList();
    this.log.scrollTop = this.log.scrollHeight;
    let kept = performance.now();
    const model = this.models.length > 0 ? { model: this.server.model_alias } : {};
    const bodies = answers.map((_, i) => ({ ...bodyOf(conversation, nTurns, answers.length > 1 && i === 0, seed), ...model }));
    // One after the other: what they take can be compared.
    for (let i = 0; i < answers.length && !signal.aborted; ++i)
      await fill(answers[i]!, conversation.kind, bodies[i]!, signal, () => {
        const follows = this.log.scrollTop + this.log.clientHeight >= this.log.scrollHeight - 60;
        view.answers[i]!.changed();
        view.compare();
        if (follows) requestAnimationFrame(() => (this.log.scrollTop = this.log.scrollHeight));
        if (performance.now() - kept > 2000) {
          kept = performance.now();
          this.keep(conversation);
        }
      });
    for (const answer of answers) if (answer.state === "waiting") answer.state = "stopped";
    this.running = null;
    for (const answer of view.answers) answer.update();
    view.compare();
    this.keep(conversation);
    this.composer.setBusy(false);
    for (const each of this.views) each.showActions();
    const failed = answers.find((answer) => answer.error);
    announce(failed ? "The answer failed." : signal.aborted ? "Stopped." : `The answer is there: ${textOf(chosen(answers)).slice(0, 300)}`);
  }
}

