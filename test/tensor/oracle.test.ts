import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { oracle } from "../../src/cli/oracle.ts";
import { run } from "../../src/cli/run.ts";
import { compare } from "../../src/experiments/oracle/compare.ts";
import { openEngine } from "../../src/experiments/oracle/engine.ts";
import { runOracle } from "../../src/experiments/oracle/run.ts";
import { tensor } from "../../src/index.ts";
import { safetensors } from "../../src/io/index.ts";
import { floatBackends } from "../devices.ts";
import { scratch } from "../scratch.ts";

// The oracle runner on a small directory of its own; the reference files themselves are the runner's business.

const { fresh } = scratch("oracle");

let directory: string;
beforeEach(() => {
  directory = fresh();
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
    expect(printed.stdout).toMatch(/FAILED a\.json: a\.json: it is no JSON/);
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

describe("LoRA cases", () => {
  const matrix = (rows: number[][]) => ({ shape: [rows.length, rows[0]!.length], data: rows.flat() });
  /** One update of SGD on B alone: A = [1], x = [1], the loss (s b - 1)^2, so b goes from 0 to 2 s lr. */
  const run = (name: string, alpha: number, lr: number, more: object = {}) => ({
    name,
    problem: "lora_linear_mse",
    alpha,
    r: 1,
    useRslora: false,
    scaling: alpha,
    x: matrix([[1]]),
    y: matrix([[1]]),
    weight: matrix([[0]]),
    bias: vector(0),
    init: { loraA: matrix([[1]]), loraB: matrix([[0]]) },
    optimizer: {
      name: "sgd",
      groups: [
        { params: ["loraA"], lr: 0 },
        { params: ["loraB"], lr },
      ],
    },
    losses: [1, (2 * alpha * alpha * lr - 1) ** 2],
    lrs: [
      [0, lr],
      [0, lr],
    ],
    params: {},
    ...more,
  });

  test("runs that are to have the same losses are compared, bit for bit under powers of two", async () => {
    write("runs.json", {
      format: 1,
      kind: "trajectory",
      cases: [
        run("base", 2, 0.0625),
        run("same", 4, 0.0625 / 4, { sameLossesAs: "base" }),
        run("close", 3, (0.0625 * 4) / 9, { sameLossesAs: "base" }),
        run("other", 2, 0.125, { sameLossesAs: "base" }),
        run("nobody", 2, 0.0625, { sameLossesAs: "missing" }),
      ],
    });
    const engine = await openEngine("evaluator", "float64");
    const report = await runOracle(directory, engine);
    const problems = report.failures.map(({ name, problems }) => [name, problems.join("; ")]);
    expect(report).toMatchObject({ passed: 3, failed: 2, skipped: 0 });
    expect(problems[0]).toEqual([
      "other",
      expect.stringMatching(/^losses beside those of base, bit for bit, differs by .*: element 1 is 0, /),
    ]);
    expect(problems[1]).toEqual(["nobody", expect.stringMatching(/there is no case missing/)]);
  });

  test("initial values with a wrong bound or spread fail", async () => {
    const entry = {
      fanIn: 64,
      r: 8,
      kaimingUniformBound: 1 / 8,
      kaimingUniformStd: 1 / 8 / Math.sqrt(3),
      gaussianStd: 1 / 8,
    };
    const cases = [
      { name: "good", layer: "init", entries: [entry] },
      { name: "wide", layer: "init", entries: [{ ...entry, kaimingUniformBound: 1 / 4 }] },
      { name: "narrow", layer: "init", entries: [{ ...entry, kaimingUniformBound: 1 / 8.1 }] },
      { name: "root", layer: "init", entries: [{ ...entry, gaussianStd: 1 / Math.sqrt(8) }] },
    ];
    write("init.json", { format: 1, kind: "lora_layer", cases });
    const engine = await openEngine("cpu", "float32");
    const report = await runOracle(directory, engine).finally(() => engine.dispose());
    expect(report.failures.map(({ name, problems }) => `${name}: ${problems.join()}`)).toEqual([
      expect.stringMatching(/^wide: entry 0: the largest value is close to 0\.25/),
      expect.stringMatching(/^narrow: entry 0: all values are within/),
      expect.stringMatching(/^root: entry 0: the standard deviation of gaussian/),
    ]);
  });
});

test("a file of tensors is compared exactly", async () => {
  await safetensors.write(join(directory, "a.safetensors"), { w: tensor([1, -0]) }, { metadata: { a: "b" } });
  const good = {
    name: "good",
    file: "a.safetensors",
    metadata: { a: "b" },
    tensors: { w: { dtype: "F32", shape: [2], data: [1, -0] } },
  };
  const as = (name: string, change: object) => ({ ...good, name, ...change });
  const w = (change: object) => ({ tensors: { w: { ...good.tensors.w, ...change } } });
  const cases = [
    good,
    as("metadata", { metadata: {} }),
    as("names", { tensors: {} }),
    as("dtype", w({ dtype: "F64" })),
    as("value", w({ data: [2, -0] })),
    as("missing", { file: "b.safetensors" }),
  ];
  // The sign of a zero that JSON.stringify does not write.
  write("files.json", JSON.stringify({ format: 1, kind: "safetensors", cases }).replaceAll(",0]", ",-0.0]"));
  const engine = await openEngine("cpu", "float32");
  const report = await runOracle(directory, engine).finally(() => engine.dispose());
  expect(report.failures.map(({ name, problems }) => `${name}: ${problems.join()}`)).toEqual([
    'metadata: metadata is [["a","b"]], expected [].',
    'names: the names is ["w"], expected [].',
    'dtype: w is {"dtype":"F32","shape":[2]}, expected {"dtype":"F64","shape":[2]}.',
    "value: w has 1 as element 0, expected 2.",
    expect.stringMatching(/^missing: .*there is no such file/),
  ]);
});
