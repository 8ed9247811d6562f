// From a conversation to a request, and from its stream to an answer.
import { generate } from "./api";
import { requestFields, settings } from "./settings";
import { chosen, textOf, type Answer, type Conversation, type TextFile, type Turn } from "./types";

// A fence that nothing in the text closes.
function fenced(file: TextFile): string {
  const longest = Math.max(2, ...(file.text.match(/`+/g) ?? []).map((ticks) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${file.name}:\n${fence}\n${file.text}${file.text.endsWith("\n") ? "" : "\n"}${fence}`;
}

export function contentOf(turn: Turn, kind: Conversation["kind"]): string {
  if (turn.role === "assistant") return textOf(chosen(turn.answers));
  if (kind === "text") return [...turn.files.map((file) => file.text), turn.text].join("");
  return [turn.text, ...turn.files.map(fenced)].filter((part) => part !== "").join("\n\n");
}

// The request for the answer after the first `nTurns` turns.
export function bodyOf(conversation: Conversation, nTurns: number, dense: boolean, seed: number): Record<string, unknown> {
  const turns = conversation.turns.slice(0, nTurns);
  const body = requestFields(conversation.kind, dense, seed);
  if (conversation.kind === "text") return { ...body, prompt: turns.map((turn) => contentOf(turn, "text")).join("") };
  const messages = turns.map((turn) => ({ role: turn.role, content: contentOf(turn, "chat") }));
  if (settings.system.trim()) messages.unshift({ role: "system" as any, content: settings.system });
  return { ...body, messages };
}

// Fills the answer; `onchange` after each event. Errors become the answer's.
export async function fill(answer: Answer, kind: Conversation["kind"], body: object, signal: AbortSignal, onchange: () => void): Promise<void> {
  const began = performance.now();
  let first = 0, last = 0;
  try {
    for await (const event of generate(kind === "chat" ? "v1/chat/completions" : "v1/completions", body, signal)) {
      if (event.piece) {
        last = performance.now();
        first ||= last;
        answer.state = "running";
        answer.pieces.push(event.piece);
        answer.nTokens += Math.max(1, event.piece.tokens.length);
        answer.firstMs = first - began;
        answer.decodeMs = last - first;
      }
      if (event.finish) answer.finish = event.finish;
      if (event.usage) {
        answer.nTokens = event.usage.completion;
        answer.nPrompt = event.usage.prompt;
        answer.nCached = event.usage.cached;
      }
      onchange();
    }
    answer.state = "done";
  } catch (error) {
    answer.state = signal.aborted ? "stopped" : "failed";
    if (!signal.aborted) answer.error = (error as Error).message;
  }
  onchange();
}
