import { Controls } from "./controls.ts";
import { type CopyName, copies, copyOf } from "./copy.ts";
import { button, copy, download, find } from "./dom.ts";
import type { Seen } from "./duel.ts";
import {
  type Experiment,
  explain,
  fromAddress,
  opening,
  placeOf,
  type RunName,
  recipeOf,
  runs,
  toAddress,
  updatesFor,
  withPartner,
} from "./experiment.ts";
import { type Done, keyOf, Plane, toolNames } from "./plane.ts";
import type { Answer, Backend, Request } from "./protocol.ts";
import { Results } from "./results.ts";
import { Stories } from "./story.ts";
import { Sweep } from "./sweep.ts";

// The page: one experiment, which the address holds; a worker that trains it; drawings of what is seen.

const base = new URL("base/", document.baseURI).href;

const page = {
  experiment: opening(),
  /** The worker's answers to an experiment that is no longer wanted are dropped. */
  id: 0,
  running: false,
  seen: [] as Seen[],
  done: [] as Done[],
  /** Updates that a story still wants. */
  wanted: 0,
  /** The frozen model of the language task: the one beside the page, or the reader's own. */
  checkpoint: base as string | readonly File[],
};

const results = new Results(find);
const sweep = new Sweep(find);
const controls = new Controls(find, { changed: (experiment) => choose(experiment) });
const plane = new Plane(find<SVGSVGElement>("plane"), {
  moved: (run, { alpha, rates }) => {
    const { [run]: before } = page.experiment;
    const after = {
      ...before,
      alpha: before.alpha * alpha,
      lrA: before.lrA * rates,
      lrB: before.lrB * rates,
    };
    show({ ...page.experiment, [run]: after });
  },
  settled: () => choose(page.experiment),
});
const item = (textContent: string) => Object.assign(document.createElement("li"), { textContent });
find("tools").replaceChildren(...toolNames.map(item));
const stories = new Stories(find("stories"), {
  chosen: (experiment, updates) => choose(experiment, updates),
});

let worker = open();
const ask = (request: Request) => worker.postMessage(request);

function open(): Worker {
  const made = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  made.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
    if (data.id === page.id) hear(data);
  });
  made.addEventListener("error", (event) => {
    event.preventDefault();
    fail(`The worker ended: ${event.message || "it could not be loaded"}.`);
  });
  return made;
}

/** What the page shows of an experiment before anything is trained. */
function show(experiment: Experiment): void {
  page.experiment = experiment;
  controls.show(experiment);
  plane.draw(experiment, page.done);
  const { words } = explain(experiment);
  find("words").replaceChildren(...words.map(item));
  showCopy();
}

/** Takes up an experiment, from the start; it is run where the one before it was, or was to be. */
function choose(experiment: Experiment, updates = isRun() ? updatesFor[experiment.task] : 0): void {
  remember();
  show(experiment);
  history.replaceState(null, "", `#${toAddress(experiment)}`);
  start(updates);
}

const isRun = () => page.running || page.seen.length > 0 || page.wanted > 0;

function start(updates: number): void {
  page.id++;
  page.seen = [];
  page.wanted = updates;
  setRunning(false);
  find("message").hidden = true;
  results.clear(page.experiment);
  sweep.clear();
  ask({ kind: "pause" });
  ask({
    kind: "start",
    id: page.id,
    experiment: page.experiment,
    checkpoint: page.checkpoint,
    backend: find<HTMLSelectElement>("backend").value as Backend,
  });
}

/** Both runs as dots of the plane, once they are left. */
function remember(): void {
  const last = page.seen.at(-1);
  if (!last) return;
  const experiment = page.experiment;
  for (const run of runs)
    page.done.push({
      key: keyOf(experiment),
      ...placeOf(recipeOf(experiment, run)),
      loss: last.loss[run],
    });
  page.done.splice(0, page.done.length - 200);
}

function hear(answer: Answer): void {
  switch (answer.kind) {
    case "progress":
      find("device").textContent = `Training ${answer.of}: ${Math.round(100 * answer.share)} %`;
      return;
    case "ready":
      find("device").textContent = `On ${answer.device}. ${answer.gpu}`;
      if (page.wanted > 0) run(page.wanted);
      return;
    case "seen":
      page.seen.push(...answer.seen);
      results.show(page.experiment, page.seen);
      return;
    case "view":
      results.view(answer.view);
      return;
    case "paused":
      results.flush();
      setRunning(false);
      stories.ended(page.seen);
      return;
    case "trial":
      page.done.push(...sweep.heard(page.experiment, answer.trial, answer.left));
      if (answer.left % 5 === 0) plane.draw(page.experiment, page.done);
      return;
    case "files":
      for (const [name, blob] of Object.entries(answer.files)) download(name, blob);
      return;
    case "failed":
      fail(answer.words);
      return;
    default:
      answer satisfies never;
  }
}

function fail(words: string): void {
  setRunning(false);
  results.broken();
  const again = button("Try again", () => {
    worker.terminate();
    worker = open();
    start(0);
  });
  const back = button("Back to the page's own model", () => {
    page.checkpoint = base;
    find<HTMLInputElement>("checkpoint").value = "";
    start(0);
  });
  tell(`${words} `, again, ...(page.checkpoint === base ? [] : [" ", back]));
}

/** Says what happened, until something is started. */
function tell(...words: readonly (string | Node)[]): void {
  find("message").replaceChildren(...words);
  find("message").hidden = false;
}

function run(updates: number): void {
  page.wanted = 0;
  setRunning(true);
  ask({ kind: "run", id: page.id, updates });
}

function setRunning(running: boolean): void {
  page.running = running;
  find("play").textContent = running ? "Pause" : "Run";
  find<HTMLButtonElement>("once").disabled = running;
  find<HTMLButtonElement>("sweep").disabled = running;
}

find("play").addEventListener("click", () => (page.running ? ask({ kind: "pause" }) : run(10_000)));
find("once").addEventListener("click", () => run(1));
find("restart").addEventListener("click", () => {
  remember();
  plane.draw(page.experiment, page.done);
  start(0);
});
find("backend").addEventListener("change", () => start(0));
find("partner").addEventListener("click", () => {
  const before = page.experiment;
  const after = withPartner(before);
  choose(after);
  controls.tellMoved(before, after);
});
find("sweep").addEventListener("click", () => {
  setRunning(true);
  sweep.clear();
  ask({ kind: "sweep", id: page.id });
});

// What a language model writes, and what it takes and gives.

const strength = find<HTMLInputElement>("strength");
strength.addEventListener("change", () => {
  const share = Number(strength.value);
  find("strength-words").textContent =
    share === 0 ? "none: the frozen model" : share === 1 ? "all of it" : String(share);
  if (!page.running) ask({ kind: "look", id: page.id, strength: share });
});
find("checkpoint").addEventListener("change", ({ target }) => {
  page.checkpoint = [...((target as HTMLInputElement).files ?? [])]; // the element that listens
  start(0);
});
for (const format of ["peft", "mlx"] as const)
  find(`adapter-${format}`).addEventListener("click", () =>
    ask({ kind: "adapter", id: page.id, run: "x", format }),
  );

// Copies.

const copyAs = find<HTMLSelectElement>("copy-as");
copyAs.replaceChildren(...copies.map((name) => new Option(name)));
const copyRun = find<HTMLSelectElement>("copy-run");
let copiesShown = 0;
async function showCopy(): Promise<void> {
  const own = ++copiesShown;
  const text = await copyOf(copyAs.value as CopyName, page.experiment, copyRun.value as RunName);
  if (own === copiesShown) find("copy-text").textContent = text;
}
copyAs.addEventListener("change", showCopy);
copyRun.addEventListener("change", showCopy);
find("copy").addEventListener("click", () => copy(find("copy-text").textContent ?? "", find("copied")));
find("link").addEventListener("click", () => copy(location.href, find("copied")));

// A tab that the browser put to sleep, and its worker with it, goes on where it was.

let slept = false;
document.addEventListener("freeze", () => {
  slept = page.running;
});
document.addEventListener("resume", () => {
  if (!slept) return;
  slept = false;
  tell(
    `The browser put this tab to sleep after update ${page.seen.at(-1)?.update ?? 0}; it goes on from there.`,
  );
});

// The address.

function read(go: boolean): void {
  try {
    const experiment = fromAddress(location.hash.slice(1));
    show(experiment);
    start(go ? updatesFor[experiment.task] : 0);
  } catch (error) {
    show(page.experiment);
    start(0);
    tell(
      `The address cannot be read: ${error instanceof Error ? error.message : error} The page shows its own experiment.`,
    );
  }
}
addEventListener("hashchange", () => read(false));
read(true);
