import type { RunArguments } from "../backend/backend.ts";
import {
  checkArgument,
  type Fields,
  field,
  functionOf,
  isPlainObject,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { addTo } from "../base/group.ts";
import { table } from "../base/table.ts";
import { type Cost, intensity, kernelCost } from "../compile/cost.ts";
import { describeKernel } from "../compile/print.ts";
import { Device, type Loaded, type Observer } from "./device.ts";
import { defaultDevice } from "./init.ts";

/** One run of one kernel. Times are milliseconds since the profile began. */
export interface KernelRun extends Cost {
  /** Programs are numbered in the order of their first run; kernels in the order of their program. */
  readonly program: number;
  readonly kernel: number;
  /** What it computes: `matmul 256 x 8 over 1024`. */
  readonly name: string;
  readonly start: number;
  readonly milliseconds: number;
}

/** Work of the host. Times are milliseconds since the profile began. */
export interface HostSpan {
  /** Planning and generating the code of a program, or handing one to the device. */
  readonly kind: "compile" | "submit";
  readonly start: number;
  readonly milliseconds: number;
}

/** What ran on a device, kernel by kernel, and how long it took. */
export interface Profile {
  readonly backend: string;
  /** What it ran on, for people. */
  readonly description: string;
  /** What measured the kernels: the device's own timestamps, or the host's clock around each. */
  readonly clock: "device" | "host";
  /** From the beginning to the end of all work. */
  readonly milliseconds: number;
  readonly kernels: readonly KernelRun[];
  readonly host: readonly HostSpan[];
}

/**
 * Runs `f` and times every kernel that the device runs meanwhile, compiled functions and lazy values alike.
 * Kernels run one by one while they are timed. Print the result with `profileTable`, or write
 * `JSON.stringify(chromeTrace(...))` to a file for chrome://tracing or Perfetto.
 *
 * Floating-point operations and bytes are what each kernel needs at least, counted from its expressions: a kernel
 * that loads elements twice shows as one of low bandwidth.
 *
 * @param f May be async. The device finishes its work before the profile ends.
 * @throws ValueError when the device is being profiled already; what `f` throws.
 * @example
 * const step = compile((x: Tensor) => x.softmax(1));
 * await step(x); // once before, so that compiling is not in the profile
 * console.log(profileTable(await profile(() => step(x))));
 */
export async function profile(
  f: () => unknown,
  options: { readonly device?: Device } = {},
): Promise<Profile> {
  checkArgument("profile", "f", f, functionOf("a function of what to profile, () => step(x)"));
  const { device = defaultDevice() } = readOptions("profile", fields, options);
  if (device.observer)
    throw new ValueError("profile: the device is being profiled already. Await one profile before the next.");
  await device.backend.finish();
  const recorder = new Recorder();
  device.observer = recorder;
  try {
    await f();
    await device.backend.finish();
  } finally {
    device.observer = undefined;
  }
  return recorder.result(device);
}

const fields: Fields<{ readonly device?: Device }> = {
  device: optional(field("a device that init opened", (device) => device instanceof Device)),
};

function checkProfile(operation: string, profile: Profile): Profile {
  if (isPlainObject(profile) && Array.isArray(profile.kernels) && Array.isArray(profile.host)) return profile;
  throw new ValueError(`${operation}: given ${show(profile)}; it takes what profile gives, after await.`);
}

interface ProgramRun {
  readonly loaded: Loaded;
  readonly submitted: number;
  readonly times: ReturnType<Loaded["executable"]["profile"]>;
}

class Recorder implements Observer {
  readonly #began = performance.now();
  readonly #runs: ProgramRun[] = [];
  readonly #host: HostSpan[] = [];

  compiled(start: number, end: number): void {
    this.#span("compile", start, end);
  }

  run(loaded: Loaded, args: RunArguments): void {
    const submitted = performance.now();
    const times = loaded.executable.profile(args);
    times.catch(() => {}); // thrown by result()
    this.#span("submit", submitted, performance.now());
    this.#runs.push({ loaded, submitted, times });
  }

  async result({ backend }: Device): Promise<Profile> {
    const milliseconds = performance.now() - this.#began;
    const programs: Loaded[] = [];
    const kernels: KernelRun[] = [];
    let clock: Profile["clock"] = "host";
    let zero: number | undefined;
    for (const { loaded, submitted, times } of this.#runs) {
      const { clock: measured, spans } = await times;
      if (spans.length === 0) continue;
      clock = measured;
      // The first kernel on a clock of the device's own begins when it is submitted, as far as the host can tell.
      zero ??= measured === "host" ? this.#began : spans[0]!.start - (submitted - this.#began);
      let program = programs.indexOf(loaded);
      if (program < 0) program = programs.push(loaded) - 1;
      for (const [kernel, { start, end }] of spans.entries()) {
        const made = loaded.program.kernels[kernel]!;
        kernels.push({
          program,
          kernel,
          name: describeKernel(made),
          start: start - zero,
          milliseconds: end - start,
          ...kernelCost(made, loaded.program.values),
        });
      }
    }
    const { name, description } = backend;
    return { backend: name, description, clock, milliseconds, kernels, host: this.#host };
  }

  #span(kind: HostSpan["kind"], start: number, end: number): void {
    this.#host.push({ kind, start: start - this.#began, milliseconds: end - start });
  }
}

/** A profile as a table: one line for each kernel, all its runs together, the slowest first. */
export function profileTable(profile: Profile): string {
  const { backend, description, clock, milliseconds, kernels, host } = checkProfile("profileTable", profile);
  const groups = new Map<string, KernelRun[]>();
  for (const run of kernels) addTo(groups, `${run.program}.${run.kernel}`, run);
  const total = sum(kernels.map((run) => run.milliseconds));
  const rows = [...groups].map(([key, runs]) => ({
    key,
    runs,
    first: runs[0]!,
    ms: sum(runs.map((run) => run.milliseconds)),
  }));
  rows.sort((a, b) => b.ms - a.ms);
  /** Work of all runs of a kernel per second, in billions. */
  const rate = (work: number, { runs, ms }: (typeof rows)[number]) =>
    ms > 0 && work > 0 ? ((work * runs.length) / ms / 1e6).toPrecision(3) : "-";
  const number = (title: string, cell: (row: (typeof rows)[number]) => string) =>
    ({ title, cells: rows.map(cell), align: "right" }) as const;
  const compiling = sum(host.filter(({ kind }) => kind === "compile").map((span) => span.milliseconds));
  const how = clock === "device" ? "the device's timestamps" : "the host's clock";
  return [
    `${backend} (${description}), kernels timed by ${how}`,
    "",
    table([
      number("share", ({ ms }) => `${((100 * ms) / Math.max(total, Number.MIN_VALUE)).toFixed(1)}%`),
      number("ms", ({ ms }) => ms.toFixed(3)),
      number("runs", ({ runs }) => String(runs.length)),
      number("ms/run", ({ ms, runs }) => (ms / runs.length).toFixed(4)),
      number("GFLOP/s", (row) => rate(row.first.flops, row)),
      number("GB/s", (row) => rate(row.first.bytesRead + row.first.bytesWritten, row)),
      number("FLOP/byte", ({ first }) => intensity(first).toPrecision(3)),
      { title: "kernel", cells: rows.map(({ key, first }) => `${key} ${first.name}`) },
    ]),
    "",
    `${kernels.length} kernel runs took ${total.toFixed(2)} of ${milliseconds.toFixed(2)} ms; compiling took ${compiling.toFixed(2)} ms.`,
  ].join("\n");
}

/** An event of the Chrome trace format; times are microseconds. */
export interface TraceEvent {
  readonly name: string;
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly args?: { readonly [name: string]: string | number };
}

/**
 * A profile in the Chrome trace format, to be written as JSON and opened in chrome://tracing or Perfetto: one
 * row for the host and one for the device.
 *
 * @example
 * await writeFile("trace.json", JSON.stringify(chromeTrace(await profile(() => step(x)))));
 */
export function chromeTrace(profile: Profile): {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: "ms";
} {
  const { backend, description, clock, kernels, host } = checkProfile("chromeTrace", profile);
  const [pid, hostRow, deviceRow] = [1, 1, 2];
  const name = (what: string, tid: number, text: string): TraceEvent => ({
    name: what,
    ph: "M",
    pid,
    tid,
    args: { name: text },
  });
  return {
    displayTimeUnit: "ms",
    traceEvents: [
      name("process_name", hostRow, `Lorantz on ${backend}: ${description}`),
      name("thread_name", hostRow, "host"),
      name("thread_name", deviceRow, `kernels (${clock} clock)`),
      ...host.map(
        (span): TraceEvent => ({
          name: span.kind,
          cat: "host",
          ph: "X",
          pid,
          tid: hostRow,
          ts: 1000 * span.start,
          dur: 1000 * span.milliseconds,
        }),
      ),
      ...kernels.map(
        (run): TraceEvent => ({
          name: run.name,
          cat: "kernel",
          ph: "X",
          pid,
          tid: deviceRow,
          ts: 1000 * run.start,
          dur: 1000 * run.milliseconds,
          args: {
            kernel: `${run.program}.${run.kernel}`,
            flops: run.flops,
            bytesRead: run.bytesRead,
            bytesWritten: run.bytesWritten,
            intensity: intensity(run),
          },
        }),
      ),
    ],
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
