// Conversations in the browser's IndexedDB: nothing of them leaves it but in requests. Where there is none (a private
// window may have none), they live as long as the page.
import { isBusy, type Conversation } from "./types";

const memory = new Map<string, Conversation>();
let database: Promise<IDBDatabase | null> | null = null;

function open(): Promise<IDBDatabase | null> {
  database ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open("hunch", 1);
      request.onupgradeneeded = () => request.result.createObjectStore("conversations", { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
      request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return database;
}

async function ask<T>(mode: IDBTransactionMode, what: (store: IDBObjectStore) => IDBRequest<T>): Promise<T | null> {
  const db = await open();
  if (!db) return null;
  return new Promise((resolve, reject) => {
    const request = what(db.transaction("conversations", mode).objectStore("conversations"));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("the browser's storage failed"));
  });
}

// The latest first. What was in the making when the page went away was stopped by that.
export async function loadAll(): Promise<Conversation[]> {
  const found = (await ask("readonly", (store) => store.getAll() as IDBRequest<Conversation[]>)) ?? [...memory.values()];
  for (const conversation of found)
    for (const turn of conversation.turns)
      if (turn.role === "assistant") for (const answer of turn.answers) if (isBusy(answer)) answer.state = "stopped";
  return found.sort((a, b) => b.changed - a.changed);
}

export async function save(conversation: Conversation): Promise<void> {
  memory.set(conversation.id, conversation);
  await ask("readwrite", (store) => store.put(conversation));
}

export async function remove(id: string): Promise<void> {
  memory.delete(id);
  await ask("readwrite", (store) => store.delete(id));
}
