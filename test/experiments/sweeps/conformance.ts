import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Executor, runCells } from "../../../src/experiments/sweep/executor.ts";
import { Folder } from "../../../src/experiments/sweep/folder.ts";
import { bundle, root } from "../../command.ts";
import { scratch } from "../../scratch.ts";
import { thorough } from "../../thorough.ts";
import { cellsOf } from "./work.ts";

/** A way to get cells computed, for the tests that every executor passes. */
export interface Candidate {
  /** An executor whose processes are started from that program. */
  readonly make: (program: string) => Executor;
  /** Arguments of the program that make it a coordinator with such an executor: role, then folder, log, count, milliseconds. */
  readonly role?: () => string;
  /** Whether it is fast enough to be killed in every run of the tests. */
  readonly fast?: boolean;
  /** Whether work is done in processes of their own, which may be lost. */
  readonly processes: boolean;
}

/** What any executor does: all cells once, whoever is killed when. */
export function conforms(name: string, { make, role, fast = true, processes }: Candidate): void {
  describe(`the executor ${name}`, () => {
    const { root: home } = scratch("sweep");
    const program = join(home, "program.mjs");
    const children: ChildProcess[] = [];
    beforeAll(async () => {
      symlinkSync(join(root, "node_modules"), join(home, "node_modules"));
      writeFileSync(program, await bundle("test/experiments/sweeps/program.ts"));
    });
    afterAll(() => {
      for (const child of children) child.kill("SIGKILL");
    });

    let places = 0;
    const place = () => {
      const path = join(home, String(places++));
      const folder = new Folder(path);
      const log = join(path, "log");
      writeFileSync(log, "");
      const said = (what: string) =>
        readFileSync(log, "utf8")
          .split("\n")
          .flatMap((line) => (line.startsWith(what) ? [line.slice(what.length + 1)] : []));
      return { folder, log, said };
    };
    const squares = (folder: Folder, keys: readonly string[]) =>
      keys.map((key) => (folder.read(key)?.result as { square: number } | undefined)?.square);

    test("computes every cell once, and equal ones together", async () => {
      const { folder, log, said } = place();
      const cells = cellsOf(log, 7);
      const heard: string[] = [];
      const done = (cell: { readonly key: string }) => heard.push(cell.key);
      const ran = await runCells([...cells, cells[0]!], make(program), folder, { done });
      expect(ran).toEqual({ ran: 7, found: 0, failed: [] });
      const keys = cells.map(({ key }) => key);
      expect(squares(folder, keys)).toEqual([0, 1, 4, 9, 16, 25, 36]);
      for (const list of [folder.keys(), heard, said("begin"), said("end")])
        expect([...list].sort()).toEqual([...keys].sort());
      expect(readdirSync(join(folder.path, "claims"))).toEqual([]);
    });

    test("leaves alone what has a result", async () => {
      const { folder, log, said } = place();
      const cells = cellsOf(log, 4);
      folder.write(cells[1]!, { square: -1 }, 0);
      expect(await runCells(cells, make(program), folder)).toMatchObject({ ran: 3, found: 1 });
      expect(await runCells(cells, make(program), folder)).toEqual({ ran: 0, found: 4, failed: [] });
      expect(squares(folder, [cells[1]!.key])).toEqual([-1]);
      expect(said("begin")).toHaveLength(3);
    });

    test("reports what fails, computes the rest, and tries it again when started again", async () => {
      const { folder, log, said } = place();
      const cells = cellsOf(log, 3, { fates: ["ends", "throws"] });
      for (const time of [1, 2]) {
        const { failed } = await runCells(cells, make(program), folder);
        expect(failed.map(({ cell, reason }) => [cell.key, reason])).toEqual([
          [cells[1]!.key, "number 1 cannot be squared"],
        ]);
        expect(said("begin").filter((key) => key === cells[1]!.key)).toHaveLength(time);
      }
      expect(
        squares(
          folder,
          cells.map(({ key }) => key),
        ),
      ).toEqual([0, undefined, 4]);
    });

    test("ends when it is told to, and goes on from there", async () => {
      const { folder, log } = place();
      const cells = cellsOf(log, 6, { milliseconds: 50 });
      let turns = 0;
      const turn = async () => {
        if (++turns > 3) throw new Error("that is enough");
      };
      await expect(runCells(cells, make(program), folder, { turn })).rejects.toThrow("that is enough");
      expect(readdirSync(join(folder.path, "claims"))).toEqual([]);
      await runCells(cells, make(program), folder);
      expect(
        squares(
          folder,
          cells.map(({ key }) => key),
        ),
      ).toEqual([0, 1, 4, 9, 16, 25]);
    });

    test("shares out the cells with another one at the same time", async () => {
      const { folder, log, said } = place();
      const cells = cellsOf(log, 8, { milliseconds: 30 });
      const [one, other] = await Promise.all([
        runCells(cells, make(program), folder),
        runCells([...cells].reverse(), make(program), new Folder(folder.path)),
      ]);
      expect([one.failed, other.failed]).toEqual([[], []]);
      expect(said("begin").sort()).toEqual(cells.map(({ key }) => key).sort());
      expect(one.ran + one.found).toBe(8);
      expect(other.ran + other.found).toBe(8);
    });

    test.runIf(processes)("tries again what lost its process, but not for ever", async () => {
      const { folder, log, said } = place();
      const cells = cellsOf(log, 3, { fates: ["dies once", "dies", "ends"] });
      const { failed } = await runCells(cells, make(program), folder);
      expect(failed.map(({ cell }) => cell.key)).toEqual([cells[1]!.key]);
      expect(failed[0]!.reason).toMatch(/ended \(SIGKILL\), 3 times/);
      expect(
        squares(
          folder,
          cells.map(({ key }) => key),
        ),
      ).toEqual([0, undefined, 4]);
      expect(said("begin").filter((key) => key === cells[1]!.key)).toHaveLength(3);
    });

    test.runIf(role !== undefined && (fast || thorough))(
      "may be killed at any moment and started again",
      async () => {
        const { folder, log, said } = place();
        const cells = cellsOf(log, 20, { milliseconds: 30 });
        const keys = cells.map(({ key }) => key);
        const args = [program, role!(), folder.path, log, "20", "30"];
        for (let kills = 0; ; kills++) {
          const before = new Set(folder.keys());
          const begun = said("begin").length;
          const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
          children.push(child);
          const code = await new Promise<number | null>((resolve) => {
            child.on("exit", resolve);
            // Not after a time, but after some work, at another place in it each time.
            if (kills < 4) {
              const watch = setInterval(
                () => {
                  if (said("begin").length < begun + 1 + kills && said("end").length < 17) return;
                  child.kill("SIGKILL");
                  clearInterval(watch);
                },
                3 + 4 * kills,
              );
              child.on("exit", () => clearInterval(watch));
            }
          });
          // What had a result was not begun again.
          expect(
            said("begin")
              .slice(begun)
              .filter((key) => before.has(key)),
          ).toEqual([]);
          if (code === 0) break;
          expect(kills).toBeLessThan(8);
        }
        expect(folder.keys().slice().sort()).toEqual([...keys].sort());
        expect(squares(folder, keys)).toEqual(keys.map((_, i) => i ** 2));
        expect(readdirSync(join(folder.path, "cells")).filter((name) => !name.endsWith(".json"))).toEqual([]);
      },
    );
  });
}
