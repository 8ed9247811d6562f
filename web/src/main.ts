import "./style.css";
import { hooks, props, type ApiError } from "./api";
import { App } from "./app";
import { h } from "./dom";
import { askKey } from "./key_dialog";

hooks.askKey = askKey;

async function start(): Promise<void> {
  try {
    await new App(await props()).start();
  } catch (error) {
    document.body.replaceChildren(
      h("main", { class: "broken" }, h("h1", {}, "hunch"), h("p", { class: "failure", role: "alert" }, (error as ApiError).message), h("button", { type: "button", class: "primary", onclick: () => void start() }, "Try again")),
    );
  }
}

void start();
