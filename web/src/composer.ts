// Where the reader writes, and adds text files.
import { announce, h, put, refill, signButton } from "./dom";
import type { TextFile } from "./types";

const kMostBytes = 1 << 20; // of a file

export async function readText(file: File): Promise<TextFile> {
  if (file.size > kMostBytes) throw new Error(`${file.name} has ${file.size.toLocaleString("en")} bytes, at most 1,048,576 are read.`);
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!text.includes("\0")) return { name: file.name, text };
  } catch {
    /* not UTF-8 */
  }
  throw new Error(`${file.name} is no text in UTF-8.`);
}

export interface ComposerActions {
  send(text: string, files: TextFile[]): void;
  stop(): void;
}

export class Composer {
  readonly element: HTMLElement;
  private readonly area: HTMLTextAreaElement;
  private readonly button: HTMLButtonElement;
  private readonly list = h("ul", { class: "files", "aria-label": "Files to send", hidden: true });
  private readonly problem = h("p", { class: "failure", role: "alert", hidden: true });
  private files: TextFile[] = [];
  private busy = false;
  private kind: "chat" | "text" = "chat";

  constructor(private readonly does: ComposerActions) {
    this.area = h("textarea", {
      rows: 1, "aria-label": "Message", oninput: () => this.fit(),
      onkeydown: (event: KeyboardEvent) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
          event.preventDefault();
          if (!this.busy) this.submit();
        }
      },
    });
    const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-label": "Text files", onchange: () => {
      void this.add([...(picker.files ?? [])]);
      picker.value = "";
    } });
    this.button = h("button", { type: "submit", class: "primary" }, "Send");
    this.element = h(
      "form",
      {
        class: "composer",
        onsubmit: (event: Event) => {
          event.preventDefault();
          if (this.busy) this.does.stop();
          else this.submit();
        },
        ondragover: (event: DragEvent) => event.preventDefault(),
        ondrop: (event: DragEvent) => {
          event.preventDefault();
          void this.add([...(event.dataTransfer?.files ?? [])]);
        },
      },
      this.list, this.problem,
      h("div", { class: "composer-row" }, signButton("add", "Add text files", () => picker.click()), picker, this.area, this.button),
    );
  }

  setBusy(busy: boolean): void {
    this.busy = busy;
    this.button.textContent = busy ? "Stop" : this.kind === "text" ? "Continue" : "Send";
    this.button.classList.toggle("stop", busy);
  }

  setKind(kind: "chat" | "text"): void {
    this.kind = kind;
    this.area.placeholder = kind === "chat" ? "Message" : "Text to continue";
    this.area.setAttribute("aria-label", kind === "chat" ? "Message" : "Text to continue");
    this.setBusy(this.busy);
  }

  focus(): void {
    this.area.focus();
  }

  private submit(): void {
    // A text that goes on may go on as it is.
    if (this.area.value.trim() === "" && this.files.length === 0 && this.kind === "chat") return;
    const text = this.area.value, files = this.files;
    this.area.value = "";
    this.files = [];
    this.problem.hidden = true;
    this.fit();
    this.showFiles();
    this.does.send(text, files);
  }

  private fit(): void {
    this.area.style.height = "auto";
    this.area.style.height = `${Math.min(this.area.scrollHeight + 2, innerHeight * 0.4)}px`;
  }

  private async add(files: File[]): Promise<void> {
    this.problem.hidden = true;
    for (const file of files)
      try {
        this.files.push(await readText(file));
      } catch (error) {
        this.problem.textContent = (error as Error).message;
        this.problem.hidden = false;
      }
    this.showFiles();
    if (files.length > 0) announce(`${this.files.length} files will be sent.`);
  }

  private showFiles(): void {
    this.list.hidden = this.files.length === 0;
    refill(this.list);
    for (const file of this.files)
      put(this.list, h("li", {}, file.name, signButton("close", `Leave out ${file.name}`, () => {
        this.files = this.files.filter((other) => other !== file);
        this.showFiles();
        this.focus();
      })));
  }
}
