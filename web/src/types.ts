// What the page keeps.

// What one token used of each layer, in thousandths; null where the layer has none.
export type Shares = (number | null)[];
export const kinds = ["neurons", "heads", "experts", "keys"] as const;
export type Kind = (typeof kinds)[number];
export const kindNames: Record<Kind, string> = { neurons: "neurons", heads: "heads", experts: "experts", keys: "cached tokens" };
export type Use = Partial<Record<Kind, Shares>>;

export interface Token {
  text: string;
  p: number | null; // its probability
  top: [string, number][]; // the most probable ones, with their probabilities
  use: Use | null;
}

// One event of a stream: text, and the tokens that it came with.
export interface Piece {
  text: string;
  thinking: boolean;
  tokens: Token[];
}

export interface Answer {
  mode: string;
  pieces: Piece[];
  edited: string | null; // what the reader made of it
  state: "waiting" | "running" | "done" | "stopped" | "failed";
  error: string;
  finish: string;
  nTokens: number;
  nPrompt: number;
  nCached: number;
  firstMs: number; // until the first token
  decodeMs: number; // from the first to the last
}

export interface TextFile {
  name: string;
  text: string;
}

export type Turn = { role: "user"; text: string; files: TextFile[] } | { role: "assistant"; answers: Answer[] };

export interface Conversation {
  id: string;
  title: string;
  kind: "chat" | "text"; // by the chat template, or one text that goes on
  turns: Turn[];
  changed: number; // ms since 1970
}

export const newAnswer = (mode: string): Answer => ({
  mode,
  pieces: [],
  edited: null,
  state: "waiting",
  error: "",
  finish: "",
  nTokens: 0,
  nPrompt: 0,
  nCached: 0,
  firstMs: 0,
  decodeMs: 0,
});

const joined = (answer: Answer, thinking: boolean): string =>
  answer.pieces
    .filter((piece) => piece.thinking === thinking)
    .map((piece) => piece.text)
    .join("");
export const textOf = (answer: Answer): string => answer.edited ?? joined(answer, false);
export const thinkingOf = (answer: Answer): string => joined(answer, true);
// The answer that the conversation goes on with: of two, the one that is not the dense one beside it.
export const chosen = (answers: Answer[]): Answer => answers[answers.length - 1]!;
export const isBusy = (answer: Answer): boolean => answer.state === "waiting" || answer.state === "running";
