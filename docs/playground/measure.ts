import { compile, type Device, init, random, type Tensor, tree, valueAndGrad } from "lorantz";
import { passes, selfTest } from "lorantz/experiments";
import * as lora from "lorantz/lora";
import * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import { Bench } from "tinybench";
import { download, find } from "./dom.ts";
import { short } from "./svg.ts";

// What this browser does of the engine's work: right, and how fast.

/** A measurement, or what the self-test found. */
interface Row {
  readonly what: string;
  readonly backend: string;
  readonly value: number;
  readonly unit: string;
}

interface Findings {
  readonly kind: "lorantz browser 1";
  /** When it was measured, ISO 8601. */
  readonly date: string;
  readonly browser: string;
  readonly cores: number;
  readonly devices: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
}

let findings: Findings | undefined;
let there: Findings | undefined;

const size = 256;

/** The median of the times of a piece of work, in milliseconds. */
async function median(work: () => Promise<unknown>): Promise<number> {
  const bench = new Bench({ time: 300, iterations: 5, warmupTime: 100, warmupIterations: 2 });
  bench.add("it", work);
  await bench.run();
  const { result } = bench.tasks[0]!;
  if (!result || !("latency" in result)) throw new Error("the measurement gave no result");
  return result.latency.p50;
}

async function measure(device: Device, say: (words: string) => void): Promise<Row[]> {
  const backend = device.name;
  const row = (what: string, value: number, unit: string): Row => ({ what, backend, value, unit });
  say(`${backend}: self-test`);
  const results = await selfTest(device, (done, total) => say(`${backend}: self-test, ${done} of ${total}`));
  const rows = [
    row("operations that are as accurate as promised", results.filter(passes).length, `of ${results.length}`),
  ];
  const key = random.key(0);
  const x = random.normal(key.fold("x"), [size, size]);
  await tree.evaluate(x);
  const timed = async (
    what: string,
    f: (x: Tensor) => Tensor,
    perSecond?: readonly [count: number, unit: string],
  ) => {
    say(`${backend}: ${what}`);
    const compiled = compile(f);
    const ms = await median(async () => {
      const result = await compiled(x);
      await result.data();
      result.dispose();
    });
    rows.push(perSecond ? row(what, perSecond[0] / ms / 1e6, perSecond[1]) : row(what, ms, "ms"));
  };
  await timed(`product of ${size} x ${size}`, (x) => x.matmul(x).sum(), [2 * size ** 3, "GFLOP/s"]);
  await timed(`softmax of ${size} x ${size}`, (x) => x.softmax(1).sum());
  await timed("smallest program", (x) => x.slice([0, 0], [1, 1]).sum());
  say(`${backend}: LoRA step`);
  const base = nn.mlp([64, 128, 64], { activation: (x) => x.tanh() });
  const model = lora.inject(base, { r: 8, alpha: 16, targetModules: "all-linear" });
  const [fresh, frozen] = lora.partition(await tree.evaluate(model.init(key)));
  let own = fresh;
  const optimizer = optim.adamw({ lr: 1e-3 });
  let state = optimizer.init(own);
  const batch = await tree.evaluate(random.normal(key.fold("batch"), [64, 64]));
  const step = compile((own: nn.Params, state: optim.OptimizerState, frozen: nn.Params, x: Tensor) => {
    const [loss, gradients] = valueAndGrad((own: nn.Params) =>
      nn.mseLoss(model.apply(tree.combine<nn.Params>(frozen, own), x), x),
    )(own);
    const [updates, next] = optimizer.update(gradients, state, own);
    return { loss, own: optim.applyUpdates(own, updates), state: next };
  });
  const ms = await median(async () => {
    const after = await step(own, state, frozen, batch);
    ({ own, state } = after);
    await after.loss.item();
  });
  rows.push(row("LoRA step: 64 x 64, two layers, r 8, AdamW", ms, "ms"));
  return rows;
}

function show(): void {
  find("results").hidden = !findings;
  if (!findings) return;
  const body = find("results").querySelector("tbody")!;
  body.replaceChildren(
    ...findings.rows.map(({ what, backend, value, unit }) => {
      const same = there?.rows.find((row) => row.what === what && row.backend === backend);
      const row = document.createElement("tr");
      for (const words of [
        what,
        backend,
        `${short(value)} ${unit}`,
        same ? `${short(same.value)} ${same.unit}` : "–",
      ])
        row.append(Object.assign(document.createElement("td"), { textContent: words }));
      return row;
    }),
  );
}

find("go").addEventListener("click", async ({ target }) => {
  const button = target as HTMLButtonElement; // the one that listens
  const message = find("message");
  const say = (words: string) => {
    message.textContent = words;
  };
  button.disabled = true;
  const devices: Record<string, string> = {};
  const rows: Row[] = [];
  const missing: string[] = [];
  for (const backend of ["cpu", "webgpu"] as const) {
    try {
      const device = await init(backend === "cpu" ? { backend } : { backend, software: true });
      devices[backend] = device.description;
      rows.push(...(await measure(device, say)));
      device.dispose();
    } catch (error) {
      missing.push(`${backend}: ${error instanceof Error ? error.message : error}`);
    }
  }
  findings = {
    kind: "lorantz browser 1",
    date: new Date().toISOString(),
    browser: navigator.userAgent,
    cores: navigator.hardwareConcurrency,
    devices,
    rows,
  };
  say([...Object.entries(devices).map(([name, words]) => `${name}: ${words}`), ...missing].join(". "));
  show();
  button.disabled = false;
  find<HTMLButtonElement>("save").disabled = false;
});

find("save").addEventListener("click", () => {
  const text = `${JSON.stringify(findings, null, 2)}\n`;
  download("lorantz-browser.json", new Blob([text], { type: "application/json" }));
});

find<HTMLInputElement>("compare").addEventListener("change", async ({ target }) => {
  const [file] = (target as HTMLInputElement).files ?? []; // the element that listens
  if (!file) return;
  try {
    const value = JSON.parse(await file.text()) as Partial<Findings>;
    if (value.kind !== "lorantz browser 1" || !Array.isArray(value.rows) || typeof value.date !== "string")
      throw new Error('it is no file that "Save as JSON" wrote');
    there = value as Findings; // as its kind says
    show();
    const whose = `${file.name}, of ${there.date.slice(0, 10)} by ${there.browser} on ${there.cores} cores`;
    find("message").textContent = findings ? `Beside ${whose}.` : `${whose}, is read; now measure here.`;
  } catch (error) {
    find("message").textContent = `${file.name}: ${error instanceof Error ? error.message : error}`;
  }
});
