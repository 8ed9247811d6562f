// The picture of the sparsity: a map for each kind of thing that a layer has, one column per token, one row per layer, as
// dark as the share of it that the token used.
import { h, percent, put, refill } from "./dom";
import { meanOf, shown } from "./token_view";
import { kindNames, kinds, type Answer, type Kind, type Token } from "./types";

// Pixels of a column: canvases end at 32,767.
const columnOf = (nTokens: number): number => (nTokens <= 2048 ? 6 : 2);
// Small shares are what there is to see: the scale is that of their roots.
const tone = (thousandths: number): number => Math.sqrt(thousandths / 1000);

interface ShareMap {
  kind: Kind;
  row: HTMLElement;
  note: HTMLElement;
  canvas: HTMLCanvasElement;
  nDrawn: number;
  scale: string; // of what is drawn: colours and columns
}

export class SparsityView {
  readonly element: HTMLElement;
  private readonly tokens: Token[] = [];
  private nPieces = 0;
  private readonly maps: ShareMap[] = [];
  private readonly scroller: HTMLElement;
  private readonly slider: HTMLInputElement;
  private readonly readout: HTMLElement;
  private readonly bars: HTMLElement;
  private readonly cursor: HTMLElement;
  private readonly summary: HTMLElement;
  private picked = -1;

  constructor(
    private readonly answer: Answer,
    private readonly onpick: (token: number) => void,
  ) {
    this.slider = h("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Token to look at", oninput: () => this.pick(Number(this.slider.value), true) });
    this.readout = h("p", { class: "readout" });
    this.bars = h("div", { class: "bars" });
    this.cursor = h("div", { class: "cursor", hidden: true });
    this.scroller = h("div", { class: "maps", tabindex: 0, role: "group", "aria-label": "Maps of what was used, token by token", onmousemove: (event: MouseEvent) => this.hover(event) }, this.cursor);
    this.summary = h("span", { class: "summary-text" });
    const legend = h("div", { class: "legend", "aria-hidden": "true" }, h("span", {}, "0"), h("i"), h("span", {}, "25 %"), h("i", { class: "upper" }), h("span", {}, "100 %"));
    this.element = h(
      "details",
      { class: "sparsity", open: true, hidden: true },
      h("summary", {}, h("b", {}, "Used"), " ", this.summary),
      h("div", { class: "sparsity-body" }, this.scroller, this.slider, this.readout, this.bars, legend),
    );
    this.update();
  }

  update(): void {
    for (; this.nPieces < this.answer.pieces.length; ++this.nPieces)
      for (const token of this.answer.pieces[this.nPieces]!.tokens) if (token.use) this.tokens.push(token);
    if (this.tokens.length === 0) return;
    this.element.hidden = false;
    if (this.maps.length === 0) for (const kind of kinds) if (this.tokens[0]!.use![kind]) this.addMap(kind);
    const follows = this.scroller.scrollLeft + this.scroller.clientWidth >= this.scroller.scrollWidth - 12;
    for (const map of this.maps) this.draw(map);
    if (follows && this.picked < 0) this.scroller.scrollLeft = this.scroller.scrollWidth;
    this.slider.max = String(this.tokens.length - 1);
    const parts = this.maps.map((map) => `${kindNames[map.kind]} ${percent(this.mean(map.kind))}`);
    this.summary.textContent = parts.join(" · ");
    if (this.picked >= 0) return;
    this.slider.value = this.slider.max;
    this.describe(this.tokens.length - 1);
  }

  // The mean over all tokens and layers.
  mean(kind: Kind): number {
    const known = this.tokens.map((token) => meanOf(token.use![kind] ?? [])).filter((m): m is number => m !== null);
    return known.reduce((a, b) => a + b, 0) / Math.max(1, known.length);
  }

  pick(token: number, tell = false): void {
    if (token >= this.tokens.length) return;
    this.picked = token;
    this.slider.value = String(token);
    this.describe(token);
    this.cursor.hidden = false;
    const column = columnOf(this.tokens.length), x = token * column, shown = this.scroller;
    this.cursor.style.transform = `translateX(${x}px)`;
    if (x < shown.scrollLeft || x + column > shown.scrollLeft + shown.clientWidth) shown.scrollLeft = x - shown.clientWidth / 2;
    if (tell) this.onpick(token);
  }

  redraw(): void {
    for (const map of this.maps) this.draw(map);
  }

  private addMap(kind: Kind): void {
    const canvas = h("canvas", { "aria-hidden": "true" });
    const note = h("span", { class: "map-note" });
    const row = h("div", { class: "map" }, h("div", { class: "map-title" }, h("b", {}, kindNames[kind]), note), canvas);
    put(this.scroller, row);
    this.maps.push({ kind, row, note, canvas, nDrawn: 0, scale: "" });
  }

  private draw(map: ShareMap): void {
    const shares = this.tokens.map((token) => token.use![map.kind] ?? []);
    const nLayers = shares[0]!.length;
    // Neurons are drawn all the same: a dense answer stands beside the other one.
    const isFull = map.kind !== "neurons" && shares.every((column) => column.every((s) => s === null || s === 1000));
    map.canvas.hidden = isFull;
    map.note.textContent = isFull ? " all, in every layer" : ` ${nLayers} layers, the first on top`;
    if (isFull) return;
    const style = getComputedStyle(this.element);
    const ink = style.getPropertyValue("--map-ink").trim() || "#b4540a", ground = style.getPropertyValue("--map-ground").trim() || "#eee";
    const column = columnOf(shares.length);
    const rowHeight = nLayers > 40 ? 2 : nLayers > 20 ? 3 : nLayers > 8 ? 5 : 9;
    // Wide enough for what comes, so that the canvas is not made anew for each token.
    const room = Math.max(64, 2 ** Math.ceil(Math.log2(shares.length)));
    const scale = [ink, ground, room, column, rowHeight, nLayers].join();
    if (scale !== map.scale) {
      map.scale = scale;
      map.nDrawn = 0;
      map.canvas.width = room * column;
      map.canvas.height = nLayers * rowHeight;
    }
    map.canvas.style.clipPath = `inset(0 ${(room - shares.length) * column}px 0 0)`;
    map.row.style.width = `${shares.length * column}px`;
    const pen = map.canvas.getContext("2d");
    if (!pen) return;
    for (; map.nDrawn < shares.length; ++map.nDrawn)
      shares[map.nDrawn]!.forEach((s, layer) => {
        const at = [map.nDrawn * column, layer * rowHeight, column > 2 ? column - 1 : column, rowHeight - (rowHeight > 3 ? 1 : 0)] as const;
        if (s === null) return pen.clearRect(...at);
        pen.globalAlpha = 1;
        pen.fillStyle = ground;
        pen.fillRect(...at);
        pen.globalAlpha = tone(s);
        pen.fillStyle = ink;
        pen.fillRect(...at);
      });
  }

  private hover(event: MouseEvent): void {
    const x = event.clientX - this.scroller.getBoundingClientRect().left + this.scroller.scrollLeft;
    const token = Math.floor(x / columnOf(this.tokens.length));
    if (token >= 0 && token < this.tokens.length) this.pick(token, true);
  }

  private describe(index: number): void {
    const token = this.tokens[index]!;
    const parts: string[] = [];
    refill(this.bars);
    for (const { kind } of this.maps) {
      const shares = token.use![kind] ?? [];
      const mean = meanOf(shares);
      if (mean === null) continue;
      const known = shares.filter((s): s is number => s !== null);
      const low = Math.min(...known) / 1000, high = Math.max(...known) / 1000;
      parts.push(`${kindNames[kind]} ${percent(mean)}` + (low < high ? ` (${percent(low)} to ${percent(high)})` : ""));
      if (low === 1) continue;
      const chart = h("div", { class: "bar-chart", "aria-hidden": "true" }, h("span", { class: "bar-title" }, `${kindNames[kind]} by layer`));
      const columns = h("div", { class: "columns" });
      for (const s of shares) {
        const bar = h("i", s === null ? { class: "none" } : {});
        bar.style.height = `${s === null ? 0 : Math.max(2, s / 10)}%`;
        put(columns, bar);
      }
      put(chart, columns);
      put(this.bars, chart);
    }
    const text = `Token ${index + 1}${token.text ? ` “${shown(token.text)}”` : ""}: ${parts.join(", ")}`;
    this.readout.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }
}
