import { type Device, init } from "lorantz";
import type { FolderSource } from "lorantz/io";
import { Duel, lossAfter, type Seen } from "./duel.ts";
import { type Experiment, multipliers, recipeOf } from "./experiment.ts";
import type { Answer, Backend, Request } from "./protocol.ts";
import { type Task, taskOf } from "./tasks.ts";

// Computes, so that the page stays quick. One thing at a time: requests wait for their turn, except `pause` and `start`,
// which end what is going on after the update that is being made.

const send = (answer: Answer) => postMessage(answer);

let device: Device | undefined;
let opened: Backend | undefined;
let duel: Duel | undefined;
let experiment: Experiment | undefined;
let checkpoint: FolderSource = "";
/** The experiment that is wanted; what belongs to another one ends. */
let current = -1;
let paused = false;
let turn: Promise<void> = Promise.resolve();

addEventListener("message", ({ data }: MessageEvent<Request>) => {
  if (data.kind === "pause") {
    paused = true;
    return;
  }
  if (data.kind === "start") current = data.id;
  paused = false;
  turn = turn.then(() => answer(data));
});

async function answer(request: Exclude<Request, { readonly kind: "pause" }>): Promise<void> {
  const { id } = request;
  if (id !== current) return;
  try {
    switch (request.kind) {
      case "start":
        return await start(id, request);
      case "run":
        return await run(id, request.updates);
      case "sweep":
        return await sweep(id);
      case "look":
        if (duel) send({ kind: "view", id, view: await duel.view(request.strength) });
        return;
      case "adapter":
        if (duel) send({ kind: "files", id, files: await duel.adapter(request.run, request.format) });
        return;
      default:
        request satisfies never;
    }
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    // A device that is lost is opened anew by the next start.
    [duel, opened] = [undefined, undefined];
    send({ kind: "failed", id, words });
  }
}

async function start(
  id: number,
  { experiment: wanted, backend, checkpoint: from }: Extract<Request, { readonly kind: "start" }>,
): Promise<void> {
  duel?.dispose();
  duel = undefined;
  if (opened !== backend) {
    device?.dispose();
    device = await init(
      backend === "auto" ? {} : { backend, ...(backend === "webgpu" && { software: true }) },
    );
    opened = backend;
  }
  experiment = wanted;
  checkpoint = from;
  const tell = (share: number) => send({ kind: "progress", id, share, of: "the frozen model" });
  const made = await Duel.start(wanted, from, tell);
  if (id !== current) return made.dispose();
  duel = made;
  const gpu = "gpu" in navigator ? "" : "This browser has no WebGPU; the processor computes.";
  send({ kind: "ready", id, device: `${device!.name}: ${device!.description}`, gpu });
  send({ kind: "view", id, view: await made.view() });
}

/** From one picture to the next, in milliseconds. */
const patience = 40;

async function run(id: number, updates: number): Promise<void> {
  const going = () => duel !== undefined && id === current && !paused;
  let seen: Seen[] = [];
  let since = performance.now();
  for (let i = 0; i < updates && going(); i++) {
    seen.push(await duel!.step());
    if (performance.now() - since < patience && i < updates - 1) continue;
    send({ kind: "seen", id, seen });
    if (duel!.isTimeToLook) send({ kind: "view", id, view: await duel!.view() });
    seen = [];
    await letThrough();
    since = performance.now();
  }
  if (seen.length > 0) send({ kind: "seen", id, seen });
  if (duel && id === current) send({ kind: "view", id, view: await duel.view() });
  if (id === current) send({ kind: "paused", id });
}

/** Messages that wait are heard. */
const letThrough = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

export const sweepRanks = [1, 2, 4, 8, 16] as const;
export const sweepUpdates = 60;

/** Every rank, multiplier and rate, from the experiment's run X. */
async function sweep(id: number): Promise<void> {
  if (!experiment) return;
  const base = experiment;
  const task: Task = await taskOf(base, () => {}, checkpoint);
  const rates = [-4, -2, 0, 2, 4].map((power) => base.x.lrA * 2 ** power);
  let left = sweepRanks.length * rates.length * multipliers.length;
  for (const multiplier of multipliers)
    for (const rank of sweepRanks)
      for (const lr of rates) {
        if (id !== current || paused) return send({ kind: "paused", id });
        const x = { ...base.x, lrA: lr, lrB: lr };
        const recipe = recipeOf({ ...base, rank, multiplier, x }, "x");
        const loss = await lossAfter(sweepUpdates, recipe, task, base.seed);
        send({ kind: "trial", id, trial: { rank, multiplier, lr, loss }, left: --left });
        await letThrough();
      }
  send({ kind: "paused", id });
}
