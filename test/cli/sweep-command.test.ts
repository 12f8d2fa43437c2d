import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { Folder } from "../../src/experiments/sweep/folder.ts";
import type { Outcome } from "../../src/experiments/sweep/task.ts";
import { init } from "../../src/index.ts";
import { bundle, lorantz, root } from "../command.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { writeTinyModel } from "../tiny-model.ts";

const { root: home } = scratch("sweep-command");
const at = (...names: string[]) => join(home, ...names);

beforeAll(async () => {
  await init({ backend: "cpu" });
  await writeTinyModel(at("model"));
  const lines = Array.from({ length: 24 }, (_, i) =>
    JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` }),
  );
  writeFileSync(at("train.jsonl"), lines.join("\n"));
});

const setting = () => [
  ...["--model", at("model"), "--tokenizer", "bytes", "--backend", "cpu"],
  ...["--data", at("train.jsonl"), "--batch", "4", "--steps", "4", "--every", "2"],
];
const sweep = (grid: string, out: string, ...more: string[]) =>
  lorantz("sweep", grid, ...setting(), "--out", at(out), ...more);
const tableIn = (out: string) => JSON.parse(readFileSync(at(out, "table.json"), "utf8"));
const outcomes = (out: string) => {
  const folder = new Folder(at(out));
  return new Map(folder.keys().map((key) => [key, folder.read(key)!.result as Outcome]));
};

// Under SGD a ratio of 4 is an alpha twice as large: five different runs of nine cells.
const grid = "optimizer=sgd r=2 lr=0.1 alpha=2,4,8 ratio=1,4,16";

describe("lorantz sweep", () => {
  test("runs cells that are the same by the gauge once, and says so", async () => {
    const { code, stdout, stderr } = await sweep(grid, "same");
    expect(code).toBe(0);
    expect(stderr).toContain(
      "9 cells, 5 different runs, 1 seed: 5 fine-tunings of 4 updates; 0 there already.",
    );
    expect(stderr).toContain("alpha=4 ratio=1: the same run as alpha=2 ratio=4");
    expect(stdout).toMatch(/^cell\s+alpha\s+ratio\s+held-out loss/);
    expect(readdirSync(at("same", "cells"))).toHaveLength(5);
    const { cells, missing, seeds } = tableIn("same");
    expect([cells.length, missing, seeds]).toEqual([9, [], [0]]);
    const [first, , , same] = cells;
    expect([same.as, same.loss]).toEqual([1, cells[1].loss]);
    expect(first.loss).not.toBe(same.loss);
    const csv = readFileSync(at("same", "table.csv"), "utf8").trimEnd().split("\n");
    expect(csv[0]).toBe("cell,alpha,ratio,run,seed,ended,loss,best,accuracy,seconds,key");
    expect(csv).toHaveLength(10);
    const report = readFileSync(at("same", "report.html"), "utf8");
    expect(report).toContain("Loss over alpha and ratio");
    expect(report).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
  });

  long("runs nothing twice, also of another grid", async () => {
    await sweep("optimizer=adamw r=2 alpha=4 lr=0.01,0.02", "twice");
    const before = outcomes("twice");
    const { stderr } = await sweep("optimizer=adamw r=2 alpha=4 lr=0.02,0.05", "twice");
    expect(stderr).toContain("2 fine-tunings of 4 updates; 1 there already.");
    expect(stderr).toContain("1 result of other cells in");
    expect(outcomes("twice").size).toBe(3);
    for (const [key, outcome] of before) expect(outcomes("twice").get(key)).toEqual(outcome);
  });

  long("gives what tune gives, bit for bit", async () => {
    await sweep(
      "optimizer=adamw r=2 alpha=4 lr=0.01,0.03",
      "as-tune",
      "--seeds",
      "5,7",
      "--evaluate",
      at("train.jsonl"),
    );
    await lorantz(
      "tune",
      ...[...setting(), "--evaluate", at("train.jsonl"), "--seed", "7", "--out", at("tuned")],
      ...["--recipe", "optimizer=adamw r=2 alpha=4 lr=0.03"],
    );
    const { trajectory, losses } = JSON.parse(readFileSync(at("tuned", "results.json"), "utf8"));
    const found = [...outcomes("as-tune").values()].find((each) => each.trajectory === trajectory);
    expect(found?.losses).toEqual(losses);
  });

  long("keeps a run that diverges as a result", async () => {
    const args = ["optimizer=sgd r=2 alpha=4 lr=0.1,1e30", "diverged"] as const;
    const { code, stdout } = await sweep(...args);
    expect(code).toBe(0);
    expect(stdout).toContain("1 of 1 diverged");
    const ended = [...outcomes("diverged").values()].map((outcome) => outcome.ended);
    expect(ended.sort()).toEqual(["diverged", "steps"]);
    const again = await sweep(...args);
    expect(again.stderr).toContain("2 there already");
    expect(again.stdout).toContain("best");
  });

  test("says which cell has no result, and why", async () => {
    const { code, stderr } = await sweep(
      "optimizer=sgd r=2 alpha=4 lr=0.1,1e300",
      "beyond",
      "--seeds",
      "3,4",
    );
    expect(code).toBe(1);
    expect(stderr).toContain("optimizer.lr=1e+300, seed 4: no result. ");
    expect(stderr).toContain("No result yet of 2 fine-tunings.");
  });

  long("shares out the cells to shards, which are merged from their folders", async () => {
    const shards = ["1/2", "2/2"].map((shard) => [shard, `part-${shard[0]}`] as const);
    for (const [shard, out] of shards) {
      const { code, stderr } = await sweep(grid, out, "--shard", shard);
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringContaining(`of part ${shard[0]} of 2`),
      });
    }
    const half = await lorantz("sweep", "--merge", "--out", at("whole"), at("part-1"));
    expect({ code: half.code, said: half.stderr.includes("No result yet of") }).toEqual({
      code: 1,
      said: true,
    });
    const whole = await lorantz("sweep", "--merge", "--out", at("whole"), at("part-2"));
    expect(whole.code).toBe(0);
    expect(outcomes("whole").size).toBe(5);
    const plain = ({ cells }: { cells: { loss: number }[] }) => cells.map(({ loss }) => loss);
    expect(plain(tableIn("whole"))).toEqual(plain(tableIn("same")));
  });

  long("goes on after an interruption", async () => {
    const spy = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
      if (/\d% {2}/.test(String(text))) process.emit("SIGINT");
      return true;
    });
    const args = [
      "optimizer=sgd r=2 lr=0.1 alpha=2,4",
      ...setting(),
      "--out",
      at("interrupted"),
      "--steps",
      "60",
    ];
    const { run } = await import("../../src/cli/run.ts");
    const code = await run(["sweep", ...args]);
    spy.mockRestore();
    expect(code).toBe(130);
    expect(readdirSync(at("interrupted", "claims"))).toEqual([]);
    expect((await lorantz("sweep", ...args)).code).toBe(0);
    expect(outcomes("interrupted").size).toBe(2);
  });

  test.each([
    [["sweep"], "--out DIR is missing"],
    [["sweep", "--out", "x"], "takes one grid; given 0"],
    [["sweep", "r=2", "alpha=4", "--out", "x"], "takes one grid; given 2. Quote"],
    [["sweep", "r=2 alpha=4 lr=1 optimizer=sgd", "--out", "x"], "--data FILE is missing"],
    [["sweep", "r=2 alpha=1,-1 lr=1 optimizer=sgd", "--out", "x"], "gauge.dedupe: cell 1: alpha is -1"],
    [["sweep", "r=2 alpha=4 lr=1 optimizer=sgd", "--out", "x", "--seeds", "0"], '--seeds is "0"'],
    [["sweep", "r=2 alpha=4 lr=1 optimizer=sgd", "--out", "x", "--seeds", "1,1"], '--seeds is "1,1"'],
    [["sweep", "r=2 alpha=4 lr=1 optimizer=sgd", "--out", "x", "--shard", "3/2"], '--shard is "3/2"'],
    [
      ["sweep", "r=2 alpha=4 lr=1 optimizer=sgd", "--out", "x", "--queue", "amqp://x"],
      '"amqp://x" is no queue',
    ],
    [
      ["sweep", "r=2 alpha=4 lr=1 optimizer=sgd", "--out", "x", "--queue", "redis://127.0.0.1:1"],
      "does not answer",
    ],
    [["worker"], "--queue URL is missing"],
    [["worker", "--queue", "postgres://x@127.0.0.1:1/x"], "does not answer"],
    [["sweep", "--merge", "--out", "/nowhere"], "there is no sweep.json in /nowhere"],
    [["sweep", "--merge", "--out", "x", "--steps", "3"], "--steps is given beside --merge"],
  ])("%j is refused", async (args, message) => {
    const { code, stderr } = await lorantz(...args);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(message) });
  });

  test("says the size of a grid that explodes before it does anything", async () => {
    const values = (count: number) => Array.from({ length: count }, (_, i) => i + 1).join(",");
    const cells = `optimizer=sgd r=2 alpha=${values(30)} lr=${values(12)}`;
    const { code, stderr } = await lorantz("sweep", cells, "--out", at("many"), "--seeds", "3");
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining(
        "the grid has 360 cells and there are 3 seeds, so up to 1080 fine-tunings. If that is meant, add --yes",
      ),
    });
    const huge = `optimizer=sgd r=2 alpha=${values(1000)} lr=${values(1000)} lr.B=${values(1000)}`;
    const refused = await lorantz("sweep", huge, "--out", at("many"), "--yes");
    expect(refused.stderr).toContain("the grid has 1000000000 cells");
    expect(readdirSync(home)).not.toContain("many");
  });

  test("says what is no grid and no sweep", async () => {
    mkdirSync(at("odd"));
    writeFileSync(at("odd", "sweep.json"), "[]");
    expect((await lorantz("sweep", "--merge", "--out", at("odd"))).stderr).toContain("it is no sweep");
    expect((await sweep("{}", "odd")).stderr).toContain("a grid is a list of recipes, or { recipe, vary");
  });
});

long("the program works with processes of its own, to the same bits", async () => {
  mkdirSync(at("program", "dist", "cli"), { recursive: true });
  writeFileSync(at("program", "package.json"), readFileSync(`${root}package.json`));
  const program = at("program", "dist", "cli", "main.js");
  writeFileSync(program, await bundle(`${root}src/cli/main.ts`));
  const args = [program, "sweep", grid, ...setting(), "--out", at("processes"), "--workers", "2"];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.stringContaining("5 fine-tunings") });
  const trajectories = (out: string) =>
    [...outcomes(out).values()].map(({ trajectory }) => trajectory).sort();
  expect(trajectories("processes")).toEqual(trajectories("same"));
});
