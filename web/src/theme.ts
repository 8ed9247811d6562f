// Light, dark, or as the system has it.
import { signButton } from "./dom";
import { icon } from "./icons";

const themes = ["auto", "light", "dark"] as const;

type Theme = (typeof themes)[number];

const kept = (): number => Math.max(0, themes.indexOf((localStorage.getItem("hunch.theme") ?? "auto") as Theme));

export function applyTheme(theme: Theme = themes[kept()]!): void {
  if (theme === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

export function themeButton(onchange: () => void, closed: AbortSignal): HTMLButtonElement {
  let at = kept();
  const button = signButton("auto", "", () => {
    at = (at + 1) % themes.length;
    localStorage.setItem("hunch.theme", themes[at]!);
    apply();
    onchange();
  });
  const apply = (): void => {
    const theme = themes[at]!;
    applyTheme(theme);
    button.replaceChildren(icon(theme));
    const name = `Colours: ${theme === "auto" ? "as the system" : theme}`;
    button.setAttribute("aria-label", name);
    button.title = name;
  };
  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onchange, { signal: closed });
  return button;
}
