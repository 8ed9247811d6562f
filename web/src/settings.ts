// How answers are made: what the reader chose, its form, and what of it a request says.
import { h, put } from "./dom";
import type { Props } from "./api";

export interface Settings {
  mode: string; // "": the server's
  density: string; // of sparse mode, percent; "": as calibrated
  lossless: boolean;
  beside: boolean; // the dense answer beside each
  temperature: string;
  top_p: string;
  top_k: string;
  min_p: string;
  repeat_penalty: string;
  max_tokens: string;
  seed: string;
  stop: string; // one per line
  system: string;
  trace: boolean; // the picture of the sparsity
  confidence: boolean; // log-probabilities
  view: "text" | "tokens";
}

const initial: Settings = {
  mode: "",
  density: "",
  lossless: false,
  beside: false,
  temperature: "0.8",
  top_p: "0.95",
  top_k: "0",
  min_p: "0.05",
  repeat_penalty: "1",
  max_tokens: "512",
  seed: "",
  stop: "",
  system: "",
  trace: true,
  confidence: true,
  view: "text",
};

export const settings: Settings = { ...initial };
try {
  const kept = JSON.parse(localStorage.getItem("hunch.settings") ?? "{}");
  for (const name of Object.keys(initial) as (keyof Settings)[])
    if (typeof kept[name] === typeof initial[name]) (settings as any)[name] = kept[name];
} catch {
  /* none, or not ours */
}

export function keepSettings(): void {
  try {
    localStorage.setItem("hunch.settings", JSON.stringify(settings));
  } catch {
    /* the browser keeps nothing */
  }
}

// What the request says beside its prompt or messages. `dense`: of the answer that stands beside the other one.
export function requestFields(kind: "chat" | "text", dense: boolean, seed: number): Record<string, unknown> {
  const fields: Record<string, unknown> = { stream: true, stream_options: { include_usage: true }, seed };
  for (const name of ["temperature", "top_p", "top_k", "min_p", "repeat_penalty", "max_tokens"] as const)
    if (settings[name].trim() !== "") fields[name] = Number(settings[name]);
  const stop = settings.stop.split("\n").filter((line) => line !== "");
  if (stop.length > 0) fields["stop"] = stop;
  if (dense) fields["mode"] = "dense";
  else if (settings.mode !== "") fields["mode"] = settings.mode;
  if (!dense && settings.mode === "sparse" && settings.density.trim() !== "") fields["density"] = Number(settings.density) / 100;
  if (!dense && settings.mode !== "sparse" && settings.lossless) fields["lossless"] = true;
  if (settings.trace) fields["trace"] = true;
  if (settings.confidence && kind === "chat") Object.assign(fields, { logprobs: true, top_logprobs: 5 });
  if (settings.confidence && kind === "text") fields["logprobs"] = 5;
  return fields;
}

type TextField = { [K in keyof Settings]: Settings[K] extends string ? K : never }[keyof Settings];
type FlagField = { [K in keyof Settings]: Settings[K] extends boolean ? K : never }[keyof Settings];

export function settingsForm(server: Props, onchange: () => void): HTMLElement {
  const form = h("form", { class: "settings", onsubmit: (event: Event) => event.preventDefault() });
  const changed = (): void => {
    keepSettings();
    depend();
    onchange();
  };
  const labelled = (label: string, control: HTMLElement, hint = ""): HTMLElement => {
    control.id = `setting-${label.toLowerCase().replace(/[^a-z]+/g, "-")}`;
    const note = hint ? h("small", { id: `${control.id}-hint` }, hint) : null;
    if (note) control.setAttribute("aria-describedby", note.id);
    return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note);
  };
  const number = (label: string, name: TextField, min: number, max: number, step: string, hint = ""): HTMLElement => {
    const input = h("input", { type: "number", min, max, step, value: settings[name], inputmode: "decimal", oninput: () => {
      if (!input.checkValidity()) return;
      (settings as any)[name] = input.value;
      changed();
    } });
    return labelled(label, input, hint);
  };
  const text = (label: string, name: TextField, rows: number, hint = ""): HTMLElement => {
    const area = h("textarea", { rows, spellcheck: "false", oninput: () => ((settings as any)[name] = area.value, changed()) }, settings[name]);
    return labelled(label, area, hint);
  };
  const flag = (label: string, name: FlagField, hint: string): HTMLElement => {
    const box = h("input", { type: "checkbox", checked: settings[name], onchange: () => ((settings as any)[name] = box.checked, changed()) });
    box.id = `setting-${name}`;
    const note = h("small", { id: `${box.id}-hint` }, hint);
    box.setAttribute("aria-describedby", note.id);
    return h("div", { class: "field flag" }, h("label", {}, box, " " + label), note);
  };

  if (settings.mode === "sparse" && !server.has_sidecar) settings.mode = "";
  const mode = h("select", { onchange: () => ((settings.mode = mode.value), changed()) });
  for (const [value, label] of [
    ["", `the server's (${server.mode})`],
    ["dense", "dense: everything is computed"],
    ["exact", "exact: zeros are skipped"],
    ["sparse", server.has_sidecar ? "sparse: what the predictors choose" : "sparse (needs a sidecar)"],
  ] as const)
    put(mode, h("option", { value, selected: settings.mode === value, disabled: value === "sparse" && !server.has_sidecar }, label));
  const density = number("Density, %", "density", 1, 100, "1", "Share of the neurons that is computed; empty: as calibrated");
  const lossless = flag("Drafts, verified", "lossless", "n-grams are drafted; the answer stays that of plain decoding");
  const depend = (): void => {
    density.hidden = settings.mode !== "sparse";
    lossless.hidden = settings.mode === "sparse";
  };
  depend();

  const group = (title: string, ...fields: HTMLElement[]): HTMLElement => h("fieldset", {}, h("legend", {}, title), ...fields);
  put(
    form,
    group("Computing", labelled("Mode", mode), density, lossless, flag("Dense answer beside each", "beside", "Two answers to each prompt, one after the other")),
    group(
      "Sampling",
      number("Temperature", "temperature", 0, 100, "0.05", "0: always the most probable token"),
      number("Top p", "top_p", 0, 1, "0.01"),
      number("Min p", "min_p", 0, 1, "0.01"),
      number("Top k", "top_k", 0, 1000000, "1", "0: all"),
      number("Repeat penalty", "repeat_penalty", 0.1, 10, "0.05", "1: none"),
      number("Most tokens", "max_tokens", 1, 1000000, "1"),
      number("Seed", "seed", 0, 2147483647, "1", "Empty: another one for each answer"),
      text("Stop at", "stop", 2, "One text per line"),
    ),
    group(
      "Watching",
      flag("Picture of the sparsity", "trace", "What each token used of each layer"),
      flag("Confidence", "confidence", "Probabilities and alternatives of each token"),
    ),
  );
  if (server.chat_template) put(form, group("Conversation", text("System message", "system", 4)));
  return form;
}
