// Which of several models the page talks to. The browser remembers it.
import type { Model } from "./api";
import { h } from "./dom";

export function firstChoice(models: Model[]): string {
  const kept = localStorage.getItem("hunch.model");
  const found = models.find((m) => m.id === kept) ?? models.find((m) => m.isLoaded) ?? models.find((m) => !m.failed) ?? models[0];
  return found?.id ?? "";
}

export function modelChooser(models: Model[], chosen: string, onchange: (id: string) => void): HTMLSelectElement {
  const select = h(
    "select",
    {
      class: "model",
      "aria-label": "Model",
      onchange: () => {
        localStorage.setItem("hunch.model", select.value);
        onchange(select.value);
      },
    },
    ...models.map((m) => h("option", { value: m.id, selected: m.id === chosen }, m.failed ? `${m.id} (failed)` : m.id)),
  );
  return select;
}
