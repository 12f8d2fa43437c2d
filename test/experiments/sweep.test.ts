import { readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, keyOf, shardOf } from "../../src/experiments/sweep/cell.ts";
import { runCells } from "../../src/experiments/sweep/executor.ts";
import { Folder } from "../../src/experiments/sweep/folder.ts";
import { inProcess, local } from "../../src/experiments/sweep/local.ts";
import { Pool } from "../../src/experiments/sweep/pool.ts";
import { scratch } from "../scratch.ts";
import { conforms } from "./sweeps/conformance.ts";
import { work } from "./sweeps/work.ts";

const { root: home } = scratch("cells");

conforms("in this process", { make: () => inProcess(work), processes: false });
conforms("in this process, three at a time", { make: () => inProcess(work, 3), processes: false });
conforms("local", {
  make: (program) => local(new Pool({ module: program, args: ["pool"] }, 2)),
  role: () => "local",
  processes: true,
});

describe("cells", () => {
  test("keys follow from the data, not from its order, and are names of files and of jobs", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (data) => {
        const turned = Object.fromEntries(Object.entries(data).reverse());
        expect(canonicalJson(turned)).toBe(canonicalJson(data));
        expect(keyOf(turned)).toBe(keyOf(data));
        expect(keyOf(data)).toMatch(/^c[0-9a-f]{16}$/);
      }),
    );
    expect(keyOf({ lr: 1e-3 })).not.toBe(keyOf({ lr: 2e-3 }));
    expect(keyOf([1, 2])).not.toBe(keyOf([2, 1]));
  });

  test("shards share out the cells, in whatever order these come", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 0, max: 40 }), (of, count) => {
        const cells = Array.from({ length: count }, (_, i) => ({ key: keyOf(i), task: i }));
        const parts = Array.from({ length: of }, (_, i) => shardOf(cells, { number: i + 1, of }));
        const again = Array.from({ length: of }, (_, i) =>
          shardOf([...cells].reverse(), { number: i + 1, of }),
        );
        expect(again).toEqual(parts);
        expect(
          parts
            .flat()
            .map(({ key }) => key)
            .sort(),
        ).toEqual(cells.map(({ key }) => key).sort());
        const sizes = parts.map(({ length }) => length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

describe("a folder of results", () => {
  const folder = new Folder(join(home, "results"));
  const claim = (name: string) => join(folder.path, "claims", name);

  test("says what is no result, and what to do", () => {
    for (const text of ["", "{", "[]", JSON.stringify({ format: 1, key: "another", result: 1 })]) {
      writeFileSync(join(folder.path, "cells", "c1.json"), text);
      expect(() => folder.read("c1")).toThrow(/c1\.json: it is no result of the cell c1.*Remove the file/);
    }
    expect(folder.read("c2")).toBeUndefined();
  });

  test("takes over claims of processes that are gone, also half-written ones later, and no others", () => {
    const other = new Folder(folder.path);
    expect(folder.take("c3")).toBe("ours");
    expect(other.take("c3")).toBe("busy");
    folder.release("c3");
    expect(other.take("c3")).toBe("ours");
    // Written by a process whose number nobody has, here; then by one of another machine, long ago by its clock.
    const mine = JSON.parse(JSON.stringify({ place: "elsewhere", process: 2 ** 22 + 1, beats: 0 }));
    writeFileSync(claim("c4"), JSON.stringify(mine));
    utimesSync(claim("c4"), 0, 0);
    expect(folder.take("c4")).toBe("busy");
    writeFileSync(claim("c5"), "");
    expect(folder.take("c5")).toBe("busy");
    expect(readdirSync(join(folder.path, "claims")).sort()).toEqual(["c3", "c4", "c5"]);
  });

  test("a result that cannot be written ends the run: nothing more is computed to be lost", async () => {
    const lost = new Folder(join(home, "lost"));
    const computed: unknown[] = [];
    const executor = inProcess(async (task) => {
      computed.push(task);
      rmSync(lost.path, { recursive: true, force: true }); // a disk that is taken away
      lost.beat(); // is no accident
      return {};
    });
    const cells = [1, 2, 3].map((task) => ({ key: keyOf(task), task }));
    await expect(runCells(cells, executor, lost)).rejects.toThrow(
      /cannot write the result.*start the sweep again/,
    );
    expect(computed).toEqual([1]);
  });

  test("names the folder that cannot be made", () => {
    writeFileSync(join(home, "file"), "");
    expect(() => new Folder(join(home, "file", "results"))).toThrow(
      /cannot keep results there \(a part of the path is a file\)/,
    );
  });
});
