import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Queue } from "bullmq";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Executor, runCells } from "../../src/experiments/sweep/executor.ts";
import { Folder } from "../../src/experiments/sweep/folder.ts";
import { Pool } from "../../src/experiments/sweep/pool.ts";
import { queued, workAt } from "../../src/experiments/sweep/queue.ts";
import { openStore, type Store, withoutPassword } from "../../src/experiments/sweep/store.ts";
import { init } from "../../src/index.ts";
import { bundle, root } from "../command.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { cases } from "../thorough.ts";
import { writeTinyModel } from "../tiny-model.ts";
import { conforms } from "./sweeps/conformance.ts";
import { postgres, redis } from "./sweeps/servers.ts";
import { cellsOf } from "./sweeps/work.ts";

const servers = { Redis: await redis(), PostgreSQL: await postgres() };

/** An executor of a queue with a worker of its own. */
const withWorker =
  (url: string) =>
  (program: string): Executor => ({
    async run(cells, folder, hear) {
      const store = await openStore(url);
      const working = await workAt(store, new Pool({ module: program, args: ["pool"] }, 2), {
        code: "tests",
      });
      try {
        await queued(store, { code: "tests" }).run(cells, folder, hear);
      } finally {
        await working.close();
        await store.close();
      }
    },
  });

const { fresh } = scratch("queues");

for (const [name, server] of Object.entries(servers)) {
  describe.runIf(server !== undefined)(`a queue on ${name}`, () => {
    const home = fresh();
    const program = join(home, "program.mjs");
    const children: ChildProcess[] = [];
    beforeAll(async () => {
      symlinkSync(join(root, "node_modules"), join(home, "node_modules"));
      writeFileSync(program, await bundle("test/experiments/sweeps/program.ts"));
      await server!.start();
    });
    afterAll(async () => {
      for (const child of children) child.kill("SIGKILL");
      await server!.remove();
    });
    const start = (...args: string[]) => {
      const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "ignore", "inherit"] });
      children.push(child);
      return child;
    };
    const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
    let logs = 0;
    const place = () => {
      const log = join(home, `log-${logs++}`);
      writeFileSync(log, "");
      const folder = new Folder(join(home, `results-${logs}`));
      const ends = () => readFileSync(log, "utf8").match(/^end/gm)?.length ?? 0;
      return { log, folder, ends };
    };
    const until = async (what: () => boolean) => {
      while (!what()) await pause(20);
    };

    if (server && cases(["Redis"], ["PostgreSQL"]).includes(name))
      conforms(`a queue on ${name}`, {
        make: withWorker(server.url),
        role: () => server.url,
        fast: false,
        processes: true,
      });

    long("loses nothing when workers are killed and the server starts anew", async () => {
      const { log, folder, ends } = place();
      const cells = cellsOf(log, 16, { milliseconds: 60 });
      const store = await openStore(server!.url);
      let worker = start(server!.url);
      const running = runCells(cells, queued(store, { code: "tests" }), folder);
      await until(() => ends() >= 3);
      worker.kill("SIGKILL");
      worker = start(server!.url);
      await until(() => ends() >= 7);
      await server!.kill();
      await pause(300);
      await server!.start();
      expect(await running).toMatchObject({ ran: 16, found: 0, failed: [] });
      expect(cells.map(({ key }) => (folder.read(key)!.result as { square: number }).square)).toEqual(
        cells.map((_, i) => i ** 2),
      );
      worker.kill("SIGKILL");
      await store.close();
    });

    test("tells seconds by a steady clock, and tries a lost cell again at once, whatever the date", async () => {
      const { log, folder } = place();
      const cells = cellsOf(log, 3, { milliseconds: 200, fates: ["ends", "dies once"] });
      const now = Date.now;
      let ahead = 0;
      const clock = vi.spyOn(Date, "now").mockImplementation(() => now() + ahead);
      const turn = async () => {
        if (readFileSync(log, "utf8").startsWith("begin")) ahead = -3600_000;
      };
      try {
        const ran = await runCells(cells, withWorker(server!.url)(program), folder, { turn });
        expect(ran).toMatchObject({ ran: 3, failed: [] });
      } finally {
        clock.mockRestore();
      }
      for (const { key } of cells) {
        const { seconds } = folder.read(key)!;
        expect(seconds).toBeGreaterThan(0.19);
        expect(seconds).toBeLessThan(60);
      }
    });

    test("leaves alone what waits for another version of the code, and says so", async () => {
      const { log, folder } = place();
      const cells = cellsOf(log, 2);
      const store = await openStore(server!.url);
      const notes: string[] = [];
      const turns = { left: 15 };
      const turn = async () => {
        if (turns.left-- === 0) throw new Error("that is enough");
      };
      await expect(runCells(cells, queued(store, { code: "old" }), folder, { turn })).rejects.toThrow(
        "enough",
      );
      const pool = new Pool({ module: program, args: ["pool"] }, 1);
      const working = await workAt(store, pool, { code: "new", note: (text) => notes.push(text) });
      await until(() => notes.length > 0);
      await working.close();
      expect(notes).toContainEqual(
        expect.stringMatching(/^2 cells wait at .* for lorantz old; this is new, and leaves/),
      );
      expect([folder.keys(), readFileSync(log, "utf8"), working.count]).toEqual([[], "", 0]);
      await store.close();
    });
  });
}

test.runIf(servers.PostgreSQL !== undefined)(
  "PostgreSQL: a worker whose clock differs is refused",
  async () => {
    const server = (await postgres())!;
    await server.start();
    const store = await openStore(server.url);
    const pool = new Pool({ module: "none", args: [] }, 1);
    const now = Date.now;
    const clock = vi.spyOn(Date, "now");
    try {
      for (const [hours, words] of [
        [5, "is 18000 s ahead of that of postgres"],
        [-72, "is 259200 s behind that of postgres"],
      ] as const) {
        clock.mockImplementation(() => now() + hours * 3600_000);
        await expect(workAt(store, pool, { code: "tests" })).rejects.toThrow(words);
      }
    } finally {
      clock.mockRestore();
      await store.close();
      await server.remove();
    }
  },
);

test("says what is no queue, what does not answer, and never a password", async () => {
  await expect(openStore("http://localhost")).rejects.toThrow(
    /"http:\/\/localhost" is no queue; it is redis/,
  );
  await expect(openStore("redis://:secret@127.0.0.1:1")).rejects.toThrow(
    /redis:\/\/:\*\*\*@127\.0\.0\.1:1 does not answer \(.*ECONNREFUSED/,
  );
  await expect(openStore("postgres://me:secret@127.0.0.1:1/x")).rejects.toThrow(
    /postgres:\/\/me:\*\*\*@127\.0\.0\.1:1\/x does not answer \(.*ECONNREFUSED/,
  );
  expect(withoutPassword("redis://host:1")).toBe("redis://host:1");
  await expect(openStore("redis://:p@ss:w/rd@127.0.0.1:1")).rejects.toThrow(
    /"redis:\/\/:\*\*\*@127\.0\.0\.1:1" is no queue; .* %40/,
  );
});

describe.runIf(servers.Redis !== undefined)("Redis", () => {
  long("the commands sweep and worker meet at a queue", async () => {
    const server = (await redis())!;
    const home = fresh();
    try {
      await server.start();
      mkdirSync(join(home, "dist", "cli"), { recursive: true });
      symlinkSync(join(root, "node_modules"), join(home, "node_modules"));
      writeFileSync(join(home, "package.json"), readFileSync(join(root, "package.json")));
      const main = join(home, "dist", "cli", "main.js");
      writeFileSync(main, await bundle(`${root}src/cli/main.ts`));
      await init({ backend: "cpu" });
      await writeTinyModel(join(home, "model"));
      const line = (i: number) => JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` });
      writeFileSync(join(home, "train.jsonl"), Array.from({ length: 12 }, (_, i) => line(i)).join("\n"));
      const start = (...args: string[]) => {
        const child = spawn(process.execPath, [main, ...args], {
          cwd: home,
          stdio: ["ignore", "pipe", "pipe"],
        });
        let said = "";
        for (const stream of [child.stdout, child.stderr])
          stream.on("data", (chunk: Buffer) => {
            said += String(chunk);
          });
        const ended = new Promise<string>((resolve) =>
          child.on("exit", (code) => resolve(`${said}exit ${code}`)),
        );
        return { child, ended };
      };
      const worker = start("worker", "--queue", server.url, "--workers", "1");
      const setting = [
        "--model",
        "model",
        "--tokenizer",
        "bytes",
        "--backend",
        "cpu",
        "--batch",
        "4",
        "--steps",
        "2",
      ];
      const sweep = start(
        ...["sweep", "optimizer=sgd r=2 alpha=4 lr=0.1,0.2", ...setting, "--data", "train.jsonl"],
        ...["--out", "out", "--queue", server.url],
      );
      expect(await sweep.ended).toMatch(/best[\s\S]*Wrote out\/table\.json[\s\S]*exit 0$/);
      expect(readdirSync(join(home, "out", "cells"))).toHaveLength(2);
      worker.child.kill("SIGINT");
      expect(await worker.ended).toMatch(
        /Working at redis[\s\S]*Interrupted; what was being[\s\S]*exit 130$/,
      );
    } finally {
      await server.remove();
    }
  });

  test("says that a password is wrong, not that nobody answers", async () => {
    const server = (await redis("--requirepass", "secret"))!;
    try {
      await server.start();
      const wrong = server.url.replace("redis://", "redis://:guess@");
      await expect(openStore(wrong)).rejects.toThrow(/refuses us \(WRONGPASS.*password/);
      await expect(openStore(server.url)).rejects.toThrow(/refuses us \(NOAUTH/);
      await (await openStore(server.url.replace("redis://", "redis://:secret@"))).close();
    } finally {
      await server.remove();
    }
  });

  test("refuses a Redis that throws away, and says when it is full", async () => {
    const forgetful = (await redis("--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"))!;
    const small = (await redis("--maxmemory", "3mb"))!;
    const home = fresh();
    try {
      await forgetful.start();
      await expect(openStore(forgetful.url)).rejects.toThrow(/maxmemory-policy allkeys-lru.*noeviction/);
      await small.start();
      const opened: Queue[] = [];
      const real = await openStore(small.url);
      const store: Store = {
        ...real,
        queue: (name) => {
          const queue = real.queue(name);
          opened.push(queue);
          return queue;
        },
      };
      const cells = Array.from({ length: 200 }, (_, i) => ({ key: `c${i}x`, task: "x".repeat(20_000) }));
      const folder = new Folder(join(home, "results"));
      for (let full = 0; full < 2; full++)
        await expect(runCells(cells, queued(store, { code: "tests" }), folder)).rejects.toThrow(
          /is full, and takes no more cells/,
        );
      // What stays open keeps the command from ending.
      await vi.waitFor(() => expect(opened.every(({ closing }) => closing)).toBe(true), 5000);
    } finally {
      await forgetful.remove();
      await small.remove();
    }
  });
});
