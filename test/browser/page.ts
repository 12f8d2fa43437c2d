// What a page runs: the task and its argument come from the address, and the answer goes to the server.
import type { Answer } from "./chromium.ts";
import { tasks } from "./tasks.ts";

const query = new URLSearchParams(location.search);

function send(answer: Answer): void {
  // A page of no origin may send, but not read.
  void fetch("/answer", { method: "POST", mode: "no-cors", body: JSON.stringify(answer) });
}

addEventListener("error", ({ message }) => send({ error: message }));
addEventListener("unhandledrejection", ({ reason }) => send({ error: String(reason?.stack ?? reason) }));

const task = tasks[query.get("task") as keyof typeof tasks] as (argument: unknown) => Promise<unknown>;
send({ value: await task(JSON.parse(query.get("argument")!)) }); // the test gives what the task takes
