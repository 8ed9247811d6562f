// The server, by addresses relative to the page: it may stand behind a proxy's prefix.
import type { Piece, Token, Use } from "./types";

export interface Props {
  role?: string; // "router": of several models, none of which is meant
  model_alias: string;
  mode: string;
  has_sidecar: boolean;
  chat_template: string;
  default_generation_settings: { n_ctx: number };
  build_info: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

let key = sessionStorage.getItem("hunch.key") ?? "";
let asked: Promise<string | null> | null = null;
// Asks the reader for the key; null: they gave none. main.ts sets it.
export const hooks: { askKey: (wrong: boolean) => Promise<string | null> } = { askKey: async () => null };

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  for (;;) {
    const used = key;
    const headers: Record<string, string> = init.body ? { "Content-Type": "application/json" } : {};
    if (used) headers["Authorization"] = `Bearer ${used}`;
    let response: Response;
    try {
      response = await fetch(path, { ...init, headers, cache: "no-store", credentials: "same-origin" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ApiError(0, "The server does not answer. Is hunch still running?");
    }
    if (response.ok) return response;
    if (response.status === 401) {
      if (key !== used) continue; // somebody was asked meanwhile
      asked ??= hooks.askKey(used !== "").finally(() => (asked = null));
      const given = await asked;
      if (given !== null) {
        key = given;
        sessionStorage.setItem("hunch.key", key);
        continue;
      }
    }
    throw new ApiError(response.status, await messageOf(response));
  }
}

async function messageOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const message = JSON.parse(text).error?.message;
    if (typeof message === "string") return message;
  } catch {
    /* a proxy's page */
  }
  return `The server answered with status ${response.status}.`;
}

// Of one of several models, which is loaded for it.
export const props = async (model = ""): Promise<Props> => (await request(model ? `props?model=${encodeURIComponent(model)}` : "props")).json();

export interface Model {
  id: string;
  isLoaded: boolean;
  failed: boolean;
}
export async function models(): Promise<Model[]> {
  const json = await (await request("v1/models")).json();
  return json.data.map((m: any) => ({ id: m.id, isLoaded: m.status?.value === "loaded", failed: m.status?.failed === true }));
}

// The data of each event of a stream, in order, without the last one, "[DONE]".
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      held += decoder.decode(value, { stream: !done });
      const parts = held.split("\n\n");
      held = parts.pop() ?? "";
      for (const part of parts) {
        const data = part.startsWith("data: ") ? part.slice(6) : "";
        if (data === "[DONE]") return;
        if (data) yield data;
      }
      if (done) throw new ApiError(0, "The connection ended before the answer did.");
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export interface StreamEvent {
  piece: Piece | null;
  finish: string;
  usage: { prompt: number; cached: number; completion: number } | null;
}

export async function* generate(path: string, body: object, signal: AbortSignal): AsyncGenerator<StreamEvent> {
  const response = await request(path, { method: "POST", body: JSON.stringify(body), signal });
  if (!response.body) throw new ApiError(0, "The server's answer has no body.");
  for await (const data of events(response.body)) {
    const json = JSON.parse(data);
    if (json.error) throw new ApiError(json.error.code ?? 500, json.error.message ?? "The server failed.");
    const choice = json.choices?.[0];
    yield {
      piece: choice ? pieceOf(choice) : null,
      finish: choice?.finish_reason ?? "",
      usage: json.usage && {
        prompt: json.usage.prompt_tokens,
        cached: json.usage.prompt_tokens_details?.cached_tokens ?? 0,
        completion: json.usage.completion_tokens,
      },
    };
  }
}

// A choice of /v1/completions or /v1/chat/completions.
function pieceOf(choice: any): Piece | null {
  const thinking = choice.delta?.reasoning_content ?? "";
  const text = choice.text ?? choice.delta?.content ?? "";
  const tokens = tokensOf(choice);
  if (!thinking && !text && tokens.length === 0) return null;
  return { text: thinking + text, thinking: thinking !== "" && text === "", tokens };
}

function tokensOf(choice: any): Token[] {
  const uses: Use[] = choice.hunch?.tokens ?? [];
  const use = (i: number): Use | null => uses[i] ?? null;
  const log = choice.logprobs;
  if (log?.content)
    return log.content.map((entry: any, i: number) => ({
      text: entry.token,
      p: Math.exp(entry.logprob),
      top: (entry.top_logprobs ?? []).map((t: any) => [t.token, Math.exp(t.logprob)]),
      use: use(i),
    }));
  if (log?.tokens?.length)
    return log.tokens.map((text: string, i: number) => ({
      text,
      p: log.token_logprobs[i] === null ? null : Math.exp(log.token_logprobs[i]),
      top: Object.entries(log.top_logprobs?.[i] ?? {})
        .map(([t, lp]) => [t, Math.exp(lp as number)] as [string, number])
        .sort((a, b) => b[1] - a[1]),
      use: use(i),
    }));
  return uses.map((_, i) => ({ text: "", p: null, top: [], use: use(i) }));
}
