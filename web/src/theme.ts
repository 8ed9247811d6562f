// Light, dark, or as the system has it.
import { signButton } from "./dom";
import { icon } from "./icons";

const themes = ["auto", "light", "dark"] as const;

export function themeButton(onchange: () => void): HTMLButtonElement {
  let at = Math.max(0, themes.indexOf((localStorage.getItem("hunch.theme") ?? "auto") as (typeof themes)[number]));
  const button = signButton("auto", "", () => {
    at = (at + 1) % themes.length;
    localStorage.setItem("hunch.theme", themes[at]!);
    apply();
    onchange();
  });
  const apply = (): void => {
    const theme = themes[at]!;
    if (theme === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
    button.replaceChildren(icon(theme));
    const name = `Colours: ${theme === "auto" ? "as the system" : theme}`;
    button.setAttribute("aria-label", name);
    button.title = name;
  };
  apply();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onchange);
  return button;
}
