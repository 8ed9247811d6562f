// The conversations of this browser.
import { h, put, refill, signButton } from "./dom";
import type { Conversation } from "./types";

export interface SidebarActions {
  fresh(): void;
  open(id: string): void;
  rename(id: string, title: string): void;
  remove(id: string): void;
}

export class Sidebar {
  readonly element: HTMLElement;
  private readonly list = h("ul", { class: "conversations" });

  constructor(private readonly does: SidebarActions) {
    this.element = h(
      "nav",
      { class: "sidebar", id: "sidebar", "aria-label": "Conversations" },
      h("button", { type: "button", class: "primary fresh", onclick: () => this.does.fresh() }, "New conversation"),
      this.list,
      h("p", { class: "hint" }, "Kept in this browser only."),
    );
  }

  show(conversations: Conversation[], openId: string): void {
    const focused = (document.activeElement as HTMLElement | null)?.closest("li")?.dataset["id"];
    refill(this.list);
    for (const c of conversations) {
      const title = c.title || "New conversation";
      const item = h("li", { class: c.id === openId ? "open" : "" });
      item.dataset["id"] = c.id;
      const name = h("button", { type: "button", class: "name", "aria-current": c.id === openId ? "true" : null, onclick: () => this.does.open(c.id), ondblclick: () => this.rename(item, c) }, title);
      put(
        item,
        name,
        signButton("edit", `Rename ${title}`, () => this.rename(item, c)),
        signButton("close", `Delete ${title}`, () => {
          if (confirm(`Delete “${title}”? It is kept nowhere else.`)) this.does.remove(c.id);
        }),
      );
      put(this.list, item);
      if (c.id === focused) name.focus();
    }
  }

  private rename(item: HTMLElement, conversation: Conversation): void {
    const input = h("input", { type: "text", value: conversation.title, "aria-label": "New name", maxlength: 100, onkeydown: (event: KeyboardEvent) => {
      if (event.key === "Enter") this.does.rename(conversation.id, input.value.trim());
      if (event.key === "Escape") this.does.rename(conversation.id, conversation.title);
    }, onblur: () => this.does.rename(conversation.id, input.value.trim()) });
    refill(item, input);
    input.focus();
    input.select();
  }
}
