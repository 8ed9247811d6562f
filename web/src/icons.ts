// Signs as drawings: fonts have too few of them.
const paths = {
  menu: "M2 4h12M2 8h12M2 12h12",
  settings: "M2 4h6M12 4h2M2 12h2M8 12h6M10 2v4M6 10v4M2 8h12",
  add: "M8 2v12M2 8h12",
  close: "M3 3l10 10M13 3L3 13",
  copy: "M5 5h9v9h-9zM2 11v-9h9",
  edit: "M2 14l1-4L11 2l3 3L6 13zM9 4l3 3",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 1v4h-4",
  auto: "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
  light: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5v1.5M1 8h1.5M13.5 8h1.5M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  dark: "M13 10A6 6 0 0 1 6 3a6 6 0 1 0 7 7z",
};
export type IconName = keyof typeof paths;

const kSvg = "http://www.w3.org/2000/svg";
export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(kSvg, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(kSvg, "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}
