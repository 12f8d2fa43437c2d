import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { oracle } from "../src/cli/oracle.ts";
import { run } from "../src/cli/run.ts";
import { compare } from "../src/experiments/oracle/compare.ts";
import { openEngine } from "../src/experiments/oracle/engine.ts";
import { runOracle } from "../src/experiments/oracle/run.ts";
import { floatBackends } from "./devices.ts";

// The oracle runner on a small directory of its own; the reference files themselves are the runner's business.

const root = mkdtempSync(join(tmpdir(), "lorantz-oracle-"));
afterAll(() => rmSync(root, { recursive: true }));

let directory: string;
let count = 0;
beforeEach(() => {
  directory = join(root, String(count++));
  mkdirSync(directory);
});

function write(file: string, content: unknown): void {
  writeFileSync(join(directory, file), typeof content === "string" ? content : JSON.stringify(content));
}

const vector = (...data: (number | string)[]) => ({ shape: [data.length], data });
const ops = (...cases: object[]) => ({ format: 1, kind: "op", cases });

const square = {
  name: "square/0",
  op: "square",
  attrs: {},
  inputs: [vector(1, -2, "Infinity")],
  outputs: [vector(1, 4, "Infinity")],
  upstream: [vector(1, 0.5, 1)],
  grads: [vector(2, -2, "Infinity")],
};
const argmax = {
  name: "argmax/0",
  op: "argmax",
  attrs: { axis: [0], keepdim: false },
  inputs: [vector(1, 3, 3)],
  outputs: [{ shape: [], dtype: "int64", data: [1] }],
};
const second = {
  name: "second/0",
  op: "hvp",
  attrs: { expr: "sum(tanh(x)^3)" },
  inputs: [vector(0), vector(1)],
  outputs: [{ shape: [], data: [0] }],
  gradient: vector(0),
  hvp: vector(0),
};
/** One update of w1 = 1 on the loss (tanh(w1) w2)^2 with a rate that is 0 in the first update. */
const trajectory = {
  name: "warm",
  problem: "tanh_mlp_mse",
  x: { shape: [1, 1], data: [1] },
  y: { shape: [1, 1], data: [0] },
  init: {
    w1: { shape: [1, 1], data: [1] },
    b1: vector(0),
    w2: { shape: [1, 1], data: [1] },
    b2: vector(0),
  },
  optimizer: { name: "sgd", groups: [{ params: ["w1", "b1", "w2", "b2"], lr: 0.5 }] },
  schedule: { type: "warmup_constant", warmup: 4 },
  clipNorm: null,
  clipValue: null,
  losses: [Math.tanh(1) ** 2, Math.tanh(1) ** 2],
  lrs: [[0], [0.125]],
  params: { 1: { w1: { shape: [1, 1], data: [1] } } },
};

describe.each(await floatBackends())("on $backend in $dtype", ({ backend, dtype }) => {
  test("good cases pass, and each wrong part of a case is named", async () => {
    const wrong = (name: string, change: object) => ({ ...square, name, ...change });
    write(
      "ops_a.json",
      ops(
        square,
        argmax,
        second,
        wrong("value", { outputs: [vector(1, 4.001, "Infinity")] }),
        wrong("infinity", { outputs: [vector(1, 4, 1)] }),
        wrong("gradient", { grads: [vector(2, 2, "Infinity")] }),
        wrong("shape", { outputs: [{ shape: [3, 1], data: [1, 4, "Infinity"] }] }),
        wrong("kind", { outputs: [{ shape: [3], dtype: "int64", data: [1, 4, 4] }] }),
        { ...argmax, name: "integer", outputs: [{ shape: [], dtype: "int64", data: [2] }] },
        wrong("input", { inputs: [{ shape: [2], data: [1] }] }),
        wrong("unknown", { op: "frobnicate" }),
      ),
    );
    write("runs.json", {
      format: 1,
      kind: "trajectory",
      cases: [trajectory, { ...trajectory, name: "late", lrs: [[0], [0.1]] }],
    });
    write("other.json", { format: 1, kind: "poem", cases: [{ name: "ode" }] });

    const engine = await openEngine(backend, dtype);
    const report = await runOracle(directory, engine).finally(() => engine.dispose());
    const problems = Object.fromEntries(
      report.failures.map(({ name, problems }) => [name, problems.join("; ")]),
    );
    expect(Object.keys(problems).sort()).toEqual([
      "gradient",
      "infinity",
      "input",
      "integer",
      "kind",
      "late",
      "shape",
      "value",
    ]);
    expect(problems.value).toMatch(
      /^output differs by 2\.\de-4, more than .*: element 1 is 4, expected 4\.001$/,
    );
    expect(problems.infinity).toBe("output element 2 is Infinity, expected 1");
    expect(problems.gradient).toMatch(/^gradient of input 0 differs by .*: element 1 is -2, expected 2$/);
    expect(problems.shape).toBe("output has shape [3], expected [3,1]");
    expect(problems.kind).toBe(`output is ${dtype}, expected int64`);
    expect(problems.integer).toBe("output element 0 is 1, expected 2");
    expect(problems.input).toMatch(/inputs\[0\]: 1 values do not fill the shape \[2\]/);
    expect(problems.late).toMatch(/^learning rates differs by .*: element 1 is 0\.125, expected 0\.1$/);
    expect(report).toMatchObject({ passed: 4, failed: 8, skipped: 2 });
    expect(report.skips).toEqual([
      { reason: "the operation frobnicate is not known", cases: ["ops_a.json: unknown"] },
      { reason: "the kind poem is not known", cases: ["other.json: ode"] },
    ]);
  });
});

describe("the command", () => {
  const printed = { stdout: "", stderr: "" };
  beforeEach(() => {
    Object.assign(printed, { stdout: "", stderr: "" });
    for (const stream of ["stdout", "stderr"] as const) {
      vi.spyOn(process[stream], "write").mockImplementation((text) => {
        printed[stream] += String(text);
        return true;
      });
    }
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  const command = (...args: string[]) => run(["oracle", ...args]);

  test("exits 0 and ends with the counts when all cases pass", async () => {
    write("index.json", { "ops.json": 2 });
    write("ops.json", ops(square, argmax));
    expect(await oracle([directory, "--backend", "evaluator"])).toBe(0);
    expect(printed.stdout).toMatch(/\n2 passed, 0 failed, 0 skipped\n$/);
  });

  test("exits 1 and lists failures", async () => {
    write("ops.json", ops({ ...square, outputs: [vector(1, 5, "Infinity")] }));
    expect(await oracle([directory, "--backend", "cpu"])).toBe(1);
    expect(printed.stdout).toMatch(/\nFAILED ops\.json: square\/0: output differs by 2\.0e-1/);
    expect(printed.stdout).toMatch(/\n0 passed, 1 failed, 0 skipped\n$/);
  });

  test("prints JSON", async () => {
    write("ops.json", ops(square));
    expect(await oracle([directory, "--backend", "evaluator", "--json"])).toBe(0);
    expect(JSON.parse(printed.stdout)).toMatchObject({
      backend: "evaluator",
      dtype: "float64",
      passed: 1,
      failed: 0,
    });
  });

  test("broken files fail by name, and the others still run", async () => {
    write("a.json", "{");
    write("b.json", { format: 2, kind: "op", cases: [] });
    write("c.json", ops(square, square));
    write("d.json", ops(square));
    write("index.json", { "d.json": 3, "e.json": 1 });
    expect(await oracle([directory, "--backend", "evaluator"])).toBe(1);
    expect(printed.stdout).toMatch(/FAILED a\.json: a\.json: is not JSON/);
    expect(printed.stdout).toMatch(/FAILED b\.json: b\.json\.format: expected 1; found 2/);
    expect(printed.stdout).toMatch(/FAILED c\.json: c\.json: two cases are named square\/0/);
    expect(printed.stdout).toMatch(/FAILED d\.json: holds 1 cases, but index\.json says 3/);
    expect(printed.stdout).toMatch(/FAILED e\.json: e\.json: cannot be read/);
    expect(printed.stdout).toMatch(/\n1 passed, 5 failed, 0 skipped\n$/);
  });

  test.each([
    [["nowhere/at/all"], /the directory nowhere\/at\/all does not exist/],
    [["--backend", "tpu"], /--backend is "tpu"; it is cpu or webgpu or evaluator/],
    [["--dtype", "float16"], /--dtype is "float16"/],
    [["--verbose"], /oracle: Unknown option '--verbose'/],
    [["a", "b"], /oracle: takes one directory; given a, b/],
  ])("wrong usage %j exits 2 and says so", async (args, message) => {
    expect(await command(...args)).toBe(2);
    expect(printed.stderr).toMatch(message);
  });

  test("a directory without reference files, and float64 on WebGPU, say so", async () => {
    expect(await command(directory, "--backend", "cpu")).toBe(1);
    expect(printed.stderr).toMatch(/holds no reference files/);
    expect(await command(directory, "--backend", "webgpu", "--dtype", "float64")).toBe(1);
    expect(printed.stderr).toMatch(/WebGPU has no float64\. Use --backend cpu/);
  });

  test("--help lists the options", async () => {
    expect(await command("--help")).toBe(0);
    for (const option of ["--backend", "--dtype", "--json"]) expect(printed.stdout).toContain(option);
  });
});

test("errors are relative to the largest magnitude, but not below the floor", () => {
  const like = { shape: [2], dtype: "float32" } as const;
  const reference = (a: number, b: number) => ({
    shape: [2],
    dtype: "float" as const,
    data: Float64Array.of(a, b),
  });
  const bound = { relative: 1e-3, floor: 1 };
  expect(compare(Float32Array.of(100, 0.0625), like, reference(100, 0), bound)).toEqual({ error: 0.000625 });
  expect(compare(Float32Array.of(0, 0.0625), like, reference(0, 0), bound)).toMatchObject({ error: 0.0625 });
  expect(compare(Float32Array.of(0, Number.NaN), like, reference(0, 0), bound).problem).toBe(
    "element 1 is NaN, expected 0",
  );
  expect(compare(Float32Array.of(0, -0), like, reference(-0, 0), bound)).toEqual({ error: 0 });
});
