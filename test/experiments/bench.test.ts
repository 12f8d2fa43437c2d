import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { run } from "../../src/cli/run.ts";
import { benchCases } from "../../src/experiments/bench/cases.ts";
import { peakModule, probeCpu } from "../../src/experiments/bench/probe-cpu.ts";
import { probeWebGpu } from "../../src/experiments/bench/probe-webgpu.ts";
import type { BenchResults } from "../../src/experiments/bench/results.ts";
import { init } from "../../src/runtime/init.ts";
import { backends } from "../devices.ts";
import { scratch } from "../scratch.ts";
import { cases, thorough } from "../thorough.ts";

const { root: folder } = scratch("bench");
afterEach(() => vi.restoreAllMocks());

/** Runs `lorantz bench` in this process and returns what it printed. */
async function bench(...args: string[]) {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    });
  }
  const code = await run(["bench", ...args]);
  vi.restoreAllMocks();
  return { code, ...written };
}

const quick = ["--small", "--time", "20"];

// A driver in software takes seconds to compile some kernels, and each answer is computed by the evaluator too: where not
// every case is wanted, a part of the benchmarks has to do.
const chosen = {
  cpu: thorough ? "" : "^(chain|softmax|frozen|lora|tiny)",
  webgpu: "^(matmul 16|chain|softmax|frozen|lora|tiny)",
};

const [cpu, ...others] = await backends();
describe.each(cases([cpu!], others))("on %s", (backend) => {
  test("benchmarks have the right answer and are timed", { timeout: 120_000 }, async () => {
    const filter = chosen[backend];
    const { code, stdout } = await bench(...quick, "--backend", backend, "--filter", filter, "--json");
    const results = JSON.parse(stdout) as BenchResults;
    const [found] = results.backends;
    expect(found!.failures).toEqual([]);
    expect(code).toBe(0);
    expect(results).toMatchObject({ schema: "lorantz-bench-1", time: 20, date: expect.any(String) });
    expect(found!.name).toBe(backend);
    const names = benchCases("small").map(({ name }) => name);
    expect(found!.results.map(({ name }) => name)).toEqual(names.filter((name) => name.match(filter)));
    expect(found!.limits.gflops).toBeGreaterThan(0);
    expect(found!.limits.gbs).toBeGreaterThan(0);
    for (const { ms, samples, error, work, rate, shareOfLimit } of found!.results) {
      expect(samples).toBeGreaterThanOrEqual(3);
      expect(error).toBeLessThan(2e-5);
      const { min, p25, median, p75, max } = ms;
      expect([min, p25, median, p75, max]).toEqual([min, p25, median, p75, max].sort((a, b) => a - b));
      expect(min).toBeGreaterThan(0);
      if ("flops" in work) {
        expect(rate!.value).toBeCloseTo(work.flops / median / 1e6, 9);
        expect(shareOfLimit).toBeCloseTo(rate!.value / found!.limits.gflops, 9);
      }
    }
    expect(found!.ratios).toEqual([{ name: "lora forward / frozen forward", value: expect.any(Number) }]);
  });

  test("a thousand operations in one expression run", async () => {
    using device = await init({ backend });
    for (const one of benchCases().filter(({ name }) => name.startsWith("tiny"))) {
      const [answer] = await (await one.prepare(device)).answers();
      expect(answer!.got).toEqual(new Float32Array(answer!.expected));
    }
  });
});

test("a filter chooses, JSON goes to a file, and a later run is compared with it", async () => {
  const file = join(folder, "before.json");
  const args = [...quick, "--backend", "cpu", "--filter", "^(softmax|chain)"];
  const first = await bench(...args, "--json", file);
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(/^softmax 64 .* GB\/s .*%/m);
  expect(first.stdout).not.toContain("matmul");
  expect(first.stdout).not.toContain("speed-up");
  expect(readdirSync(folder)).toEqual(["before.json"]);

  const before = JSON.parse(readFileSync(file, "utf8")) as {
    backends: { results: { ms: { median: number } }[] }[];
  };
  for (const result of before.backends[0]!.results) result.ms.median *= 1000;
  writeFileSync(file, JSON.stringify(before));
  const second = await bench(...args, "--compare", file);
  expect(second.stdout).toContain("speed-up");
  const ratios = [...second.stdout.matchAll(/([\d.]+)x$/gm)].map((match) => Number(match[1]));
  expect(ratios).toHaveLength(2);
  for (const ratio of ratios) expect(ratio).toBeGreaterThan(10);
});

test.each([
  [["--filter", "["], "no regular expression"],
  [["--filter", "(a)\\1"], "no regular expression that it takes"],
  [["--filter", "nothing like it"], "finds no benchmark. Benchmarks are matmul 256"],
  [["--backend", "cuda"], '--backend is "cuda"; it is cpu or webgpu'],
  [["--time", "soon"], '--time is "soon"; it is a whole number from 1'],
  [["--compare", "missing.json"], "--compare missing.json: there is no such file"],
  [["--json", "package.json/file.json"], "--json package.json/file.json: cannot write there"],
  [["--fast"], "--fast"],
  [["matmul"], "matmul"],
])("lorantz bench %j is refused with code 2", async (args, message) => {
  const { code, stdout, stderr } = await bench(...args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(message);
});

test("files that are no results are not compared with", async () => {
  for (const [content, message] of [
    ["{", "it is no JSON"],
    ['{"format": 1}', "the file.schema: expected a string; found nothing"],
  ] as const) {
    const file = join(folder, "other.json");
    writeFileSync(file, content);
    const { code, stderr } = await bench("--compare", file);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  }
});

test("the probe of the processor computes what it says", async () => {
  const { instance } = await WebAssembly.instantiate(peakModule(false));
  const peak = instance.exports.peak as (rounds: number) => number;
  // Twelve accumulators that begin at 3 to 14, by a multiply and an add in float32 each.
  let expected = 0;
  for (let start = 3; start < 15; start++) {
    let value = start;
    for (let i = 0; i < 5; i++)
      value = Math.fround(Math.fround(value * Math.fround(0.999)) + Math.fround(0.001));
    expected = Math.fround(expected + value);
  }
  expect(peak(5)).toBeCloseTo(expected, 4);
  const limits = await probeCpu(10);
  expect(limits.gflops).toBeGreaterThan(limits.oneThread!.gflops * 0.99);
});

test("the probe of the adapter gives rates", async () => {
  if (!(await backends()).includes("webgpu")) return;
  const { gflops, gbs } = await probeWebGpu(10);
  expect(gflops).toBeGreaterThan(0);
  expect(gbs).toBeGreaterThan(0);
});
