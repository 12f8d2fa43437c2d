import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { fuzz, type Report } from "./fuzz.ts";
import { openTargets } from "./targets.ts";

const usage = `npm run fuzz -- [--minutes N] [--graphs N] [--backend cpu|webgpu|all] [--bindings 8] [--seed S] [--from I] [--only NAME] [--json FILE]

  --minutes N   how long, shared among the backends; 1, or as long as the graphs take
  --graphs N    how many graphs on each backend
  --backend B   cpu, webgpu, or all: these two, and webgpu with 8 bindings
  --bindings N  a WebGPU device with so many storage buffers in a kernel
  --seed S      what is drawn; each graph is a function of the seed and its number alone
  --from I      begin at graph I: to go on where a run ended, or with --graphs 1 to repeat one graph
  --only NAME   operations, files and texts of which the name holds it
  --json FILE   write the reports there every half minute, rather than printing tests
`;

const { values } = parseArgs({
  options: {
    minutes: { type: "string" },
    graphs: { type: "string" },
    backend: { type: "string", default: "all" },
    bindings: { type: "string" },
    seed: { type: "string" },
    from: { type: "string", default: "0" },
    only: { type: "string", default: "" },
    json: { type: "string" },
    help: { type: "boolean" },
  },
});

/** Runs what the command line asks for; the exit code says whether there were faults. */
export async function main(): Promise<number> {
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const number = (name: "minutes" | "graphs" | "bindings" | "seed" | "from"): number | undefined => {
    const text = values[name];
    if (text === undefined) return undefined;
    if (!(Number(text) >= 0)) throw new Error(`--${name} is ${text}; it is a number. ${usage}`);
    return Number(text);
  };
  const seed = number("seed") ?? Date.now() % 2 ** 31;
  const graphs = number("graphs");
  // With a number of graphs the time is open, unless it is given too.
  const minutes = values.minutes === undefined ? (graphs === undefined ? 1 : Infinity) : number("minutes")!;
  const runs: readonly (readonly [backend: string, bindings: number | undefined])[] =
    values.backend === "all"
      ? [
          ["cpu", undefined],
          ["webgpu", undefined],
          ["webgpu", 8],
        ]
      : [[values.backend, number("bindings")]];
  const reports: Report[] = [];
  for (const [backend, bindings] of runs) {
    const targets = await openTargets(backend, bindings);
    let printed = 0;
    let said = 0;
    const report = await fuzz(
      targets,
      {
        seed,
        from: number("from")!,
        only: values.only,
        graphs: graphs ?? Infinity,
        seconds: (minutes * 60) / runs.length,
      },
      (soFar) => {
        const { faults, seconds } = soFar;
        if (seconds > said + 30) {
          said = seconds;
          console.error(firstLine(soFar));
          save([...reports, soFar]);
        }
        for (; printed < faults.length; printed++)
          if (!values.json) console.log(`\n${faults[printed]!.test}`);
      },
    );
    for (const { device } of targets) device.dispose();
    reports.push(report);
    console.log(`\n${summary(report)}`);
    save(reports);
  }
  return reports.some(({ faults }) => faults.length > 0) ? 1 : 0;
}

function save(reports: readonly Report[]): void {
  if (values.json) writeFileSync(values.json, `${JSON.stringify(reports, null, 2)}\n`);
}

function firstLine({ seed, graphs, seconds, faults }: Report): string {
  const all = Object.values(graphs).reduce((sum, n) => sum + n, 0);
  const parts = Object.entries(graphs).map(([name, n]) => `${n} on ${name}`);
  const rate = (all / seconds).toFixed(1);
  return `seed ${seed}: ${all} graphs in ${seconds.toFixed(0)} s (${rate} a second), ${faults.length} kinds of faults: ${parts.join(", ")}`;
}

function summary(report: Report): string {
  const { trips, calls, refused, misuses, judged, elements, tooLarge, uses, faults } = report;
  const unused = Object.keys(uses).filter((name) => uses[name] === 0);
  const share = (part: number, whole: number) => `${((100 * part) / Math.max(whole, 1)).toFixed(1)} %`;
  return [
    firstLine(report),
    `  ${judged} of ${elements} elements judged (${share(judged, elements)}), the others are unknown by the bounds; ${tooLarge} graphs left out as too large`,
    `  there and back: ${Object.entries(trips)
      .map(([name, n]) => `${n} x ${name}`)
      .join(", ")}`,
    `  ${calls} calls, ${refused} refused, ${misuses} with an argument of another type`,
    ...(unused.length > 0 ? [`  in no graph: ${unused.join(", ")}`] : []),
    ...faults.map(({ kind, key, count, why }) => `  ${count} x ${kind}: ${key}\n      ${why}`),
  ].join("\n");
}
