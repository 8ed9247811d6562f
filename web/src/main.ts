import "./style.css";
import { ApiError, hooks, models, props, type Model } from "./api";
import { App } from "./app";
import { h } from "./dom";
import { askKey } from "./key_dialog";
import { firstChoice, modelChooser } from "./model_chooser";
import { applyTheme } from "./theme";

applyTheme(); // before anything is drawn
hooks.askKey = askKey;

// Instead of the page: what it waits for, or why there is none.
function show(...children: (Node | null)[]): void {
  document.body.replaceChildren(h("main", { class: "broken" }, h("h1", {}, "hunch"), ...children));
}

async function start(model = ""): Promise<void> {
  let all: Model[] = [];
  try {
    let server = await props();
    if (server.role === "router") {
      all = await models();
      model ||= firstChoice(all);
      if (!model) throw new ApiError(0, "The server's folder of models is empty.");
      show(h("p", { role: "status" }, `Loading ${model} …`));
      server = await props(model);
    }
    await new App(server, all, (id) => void start(id)).start();
  } catch (error) {
    const chooser = all.length > 0 ? h("p", {}, modelChooser(all, model, (id) => void start(id))) : null;
    show(h("p", { class: "failure", role: "alert" }, (error as ApiError).message), chooser, h("button", { type: "button", class: "primary", onclick: () => void start(model) }, "Try again"));
  }
}

void start();
