// Asks for the server's API key, where it wants one.
import { h } from "./dom";

export function askKey(wrong: boolean): Promise<string | null> {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "api-key", autocomplete: "off", required: true });
    const close = (key: string | null): void => {
      dialog.close();
      dialog.remove();
      resolve(key);
    };
    const dialog = h(
      "dialog",
      { "aria-labelledby": "api-key-title", oncancel: () => close(null) },
      h(
        "form",
        { onsubmit: (event: Event) => (event.preventDefault(), close(input.value.trim())) },
        h("h2", { id: "api-key-title" }, "This server asks for a key"),
        wrong && h("p", { class: "failure", role: "alert" }, "That key is not the server's."),
        h("label", { for: "api-key" }, "API key"),
        input,
        h("p", { class: "hint" }, "Kept until this tab is closed, and sent to this server only."),
        h("div", { class: "edit-buttons" }, h("button", { type: "submit", class: "primary" }, "Go on"), h("button", { type: "button", onclick: () => close(null) }, "Cancel")),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
