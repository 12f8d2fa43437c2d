import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { readSettings, writeSettings } from "../../src/backend/webgpu/gpu-node.ts";
import { cacheFolder, makeFolders, readBytes } from "../../src/base/files.ts";
import { parseJson } from "../../src/base/json.ts";
import { oneLine, visible } from "../../src/base/text.ts";
import { Output } from "../../src/cli/output.ts";
import { bundle, lorantz, root } from "../command.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";

// What commands read and write: files of every kind, text of every origin, streams that break.

const { fresh } = scratch("files");
let folder: string;
beforeEach(() => {
  folder = fresh();
});

const at = (...names: string[]) => join(folder, ...names);
const pipe = (name: string) => {
  execFileSync("mkfifo", [at(name)]);
  return at(name);
};

describe("output", () => {
  test("is written as a whole, makes the folders it needs, and leaves nothing else", () => {
    const paths = [at("deep", "er", "a.txt"), at("deep", "er", "b.txt")];
    const output = new Output("--out", paths);
    expect(readdirSync(folder)).toEqual([]); // tried, and taken back
    expect(output.write(["1", "2"])).toEqual(paths);
    output.write(["3", "4"]);
    expect(readdirSync(at("deep", "er"))).toEqual(["a.txt", "b.txt"]);
    expect(paths.map((path) => readFileSync(path, "utf8"))).toEqual(["3", "4"]);
  });

  test("what cannot be written is refused before the work, and nothing is made", () => {
    writeFileSync(at("file"), "x");
    mkdirSync(at("taken"));
    symlinkSync("circle", at("circle"));
    const cases: readonly (readonly [path: string, reason: string])[] = [
      [at("taken"), "it is not a file"],
      [at("file", "below"), "is not a folder"],
      [at("new", "x".repeat(300)), "the name is too long"],
      [at("circle"), "links lead in a circle"],
      ["/proc/lorantz/deep/er/results.json", "there is no such file"],
      ["/dev/full", "no space is left"],
      [pipe("unread"), "nobody reads from it"],
    ];
    const before = readdirSync(folder);
    for (const [path, reason] of cases) {
      expect(() => new Output("--out", [path]), path).toThrow(/^--out .*: cannot write there \(/);
      expect(() => new Output("--out", [path]), path).toThrow(reason);
    }
    expect(readdirSync(folder)).toEqual(before);
  });

  test("links lead where they led, and permissions stay", () => {
    writeFileSync(at("target"), "old");
    chmodSync(at("target"), 0o640);
    symlinkSync("target", at("link"));
    symlinkSync("fresh", at("dangling"));
    new Output("--out", [at("link"), at("dangling")]).write(["one", "two"]);
    expect([readlinkSync(at("link")), readlinkSync(at("dangling"))]).toEqual(["target", "fresh"]);
    expect(readFileSync(at("target"), "utf8")).toBe("one");
    expect(statSync(at("target")).mode & 0o777).toBe(0o640);
    expect(readFileSync(at("fresh"), "utf8")).toBe("two");
  });

  test("a file of several names keeps them, also where another one of the set cannot be written", () => {
    writeFileSync(at("one"), "old");
    linkSync(at("one"), at("other"));
    new Output("--out", [at("one")]).write(["new, and longer"]);
    expect(readFileSync(at("other"), "utf8")).toBe("new, and longer");
    expect(statSync(at("one"))).toMatchObject({ nlink: 2, ino: statSync(at("other")).ino });
    const output = new Output("--out", [at("one"), at("blocked")]);
    mkdirSync(at("blocked"));
    expect(() => output.write(["lost", "lost"])).toThrow("cannot write the results");
    expect(readFileSync(at("other"), "utf8")).toBe("new, and longer");
    expect(statSync(at("one")).nlink).toBe(2);
    expect(readdirSync(folder).filter((name) => name.includes(".tmp"))).toEqual([]);
  });

  test("devices and pipes are written into", async () => {
    const device = lstatSync("/dev/null");
    new Output("--out", ["/dev/null"]).write(["gone"]);
    expect(lstatSync("/dev/null")).toMatchObject({ ino: device.ino, rdev: device.rdev, mode: device.mode });

    const path = pipe("pipe");
    const reader = spawn("cat", [path], { stdio: ["ignore", "pipe", "ignore"] });
    let read = "";
    reader.stdout.setEncoding("utf8").on("data", (text) => {
      read += text;
    });
    const ended = new Promise((resolve) => reader.once("close", resolve));
    let output: Output | undefined;
    await vi.waitFor(() => {
      output = new Output("--out", [path]); // as soon as somebody reads
    });
    const long = "0123456789".repeat(20_000); // more than a pipe holds
    const writing = new Promise((resolve) => setTimeout(() => resolve(output!.write([long])), 0));
    await Promise.all([writing, ended]);
    expect(read).toBe(long);
    expect(lstatSync(path).isFIFO()).toBe(true);
  });

  test("if one of two cannot be put in its place, neither is", () => {
    const [first, second] = [at("a"), at("b")];
    writeFileSync(first, "old");
    const output = new Output("--out", [first, second]);
    mkdirSync(at("b", "in the way"), { recursive: true });
    expect(() => output.write(["new", "new"])).toThrow("cannot write the results");
    expect(readFileSync(first, "utf8")).toBe("old");
    rmSync(second, { recursive: true });
    output.write(["new", "new"]);
    expect(readdirSync(folder)).toEqual(["a", "b"]);
  });
});

describe("input", () => {
  test("what does not end, or never begins, is refused", () => {
    expect(() => readBytes(folder)).toThrow("it is a folder");
    expect(() => readBytes("/dev/zero")).toThrow("it has more than 268435456 bytes");
    expect(readBytes("/proc/self/status").length).toBeGreaterThan(0); // of length 0, says the system
    expect([...readBytes("/dev/null")]).toEqual([]);
  });

  long("a pipe is read to its end, however slow, and one without a writer is refused", () => {
    const path = pipe("pipe");
    spawn("sh", ["-c", `{ echo one; sleep 0.2; echo two; } > ${path}`], { stdio: "ignore" });
    expect(new TextDecoder().decode(readBytes(path))).toBe("one\ntwo\n");
    expect(() => readBytes(path)).toThrow("it is a pipe, and nothing came out of it in 5 s");
  });

  test("folders are made one by one, and none below what cannot have any", () => {
    expect(makeFolders(at("a", "b"))).toEqual([at("a"), at("a", "b")]);
    expect(makeFolders(at("a", "b"))).toEqual([]);
    writeFileSync(at("file"), "");
    expect(() => makeFolders(at("file", "x"))).toThrow("ENOTDIR");
    expect(() => makeFolders("/proc/lorantz/x")).toThrow();
  });

  test("settings of an unusable cache count as absent", async () => {
    const before = process.env.XDG_CACHE_HOME;
    try {
      mkdirSync(at("lorantz"));
      pipe("lorantz/tuning.json");
      process.env.XDG_CACHE_HOME = folder;
      expect(await readSettings("tuning")).toBeUndefined();
      process.env.XDG_CACHE_HOME = "/proc/lorantz";
      await writeSettings("tuning", "{}");
      expect(await readSettings("tuning")).toBeUndefined();
    } finally {
      if (before === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = before;
    }
  });

  test("JSON that no file of ours would have is refused by name", () => {
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    expect(parseJson("f", `{ "a": [1, 2e3, "[[[["] }`)).toEqual({ a: [1, 2000, "[[[["] });
    expect(parseJson("f", nested(64))).toBeDefined();
    for (const [text, message] of [
      ["{", /^f: it is no JSON \(/],
      [nested(65), "f: arrays and objects are nested more than 64 deep"],
      [`{"a":`.repeat(5000), "f: arrays and objects are nested more than 64 deep"],
      ['{ "a": { "__proto__": 1 } }', "f: a.__proto__ is no name of a field"],
      ['{ "a": { "\\u005f_proto__": 1 } }', "f: a.__proto__ is no name of a field"],
      ['{ "a": [0, 1e999] }', "f: a[1] is a number beyond"],
      [`[${"9".repeat(400)}]`, "f: [0] is a number beyond"],
    ] as const)
      expect(() => parseJson("f", text)).toThrow(message);
  });
});

test("text of others is printed so that it steers nothing", () => {
  expect(visible("\x1b[31m\r\x07\x9b\u202e\n")).toBe("\\u001b[31m\\u000d\\u0007\\u009b\\u202e\n");
  expect(oneLine("naïve 白鯨 🐋\n")).toBe("naïve 白鯨 🐋\\n");
  expect(JSON.parse(visible('"\x9b\u{e0001}"'))).toBe("\x9b\u{e0001}");
});

describe("commands", () => {
  const escaping = "\x1b]0;title\x07";

  const results = (change: object) => {
    const one = { name: "matmul 256", about: "a", ms: { median: 1 } };
    const backend = { name: "cpu", results: [one] };
    const file = { schema: "lorantz-bench-1", version: "1", date: "today", backends: [backend] };
    writeFileSync(at("other.json"), JSON.stringify({ ...file, ...change }));
    return at("other.json");
  };
  test.each<readonly [change: object, message: string]>([
    [{ schema: 1 }, "the file.schema: expected a string; found 1"],
    [{ schema: "lorantz-bench-2" }, 'the file.schema: expected "lorantz-bench-1"; found "lorantz-bench-2"'],
    [{ backends: undefined }, "the file.backends: expected an array; found nothing"],
    [{ backends: [5] }, "the file.backends[0]: expected an object; found 5"],
    [{ backends: [{ name: "cpu" }] }, "the file.backends[0].results: expected an array; found nothing"],
    [
      { backends: [{ name: "cpu", results: [{ name: "x", about: "y", ms: { median: 0 } }] }] },
      "the file.backends[0].results[0].ms.median: expected a finite number > 0; found 0",
    ],
    [{ version: escaping, date: null }, "the file.date: expected a string; found null"],
  ])("bench --compare refuses %j before the work", async (change, message) => {
    const { code, stdout, stderr } = await lorantz("bench", "--compare", results(change));
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });

  test.each([
    ['{ "r": 8, "alpha": 16, "optimizer": "sgd", "lr": 1, "groups": 5 }', "groups"],
    ['{ "r": 8, "alpha": 16, "optimizer": "sgd", "lr": 1, "initScale": "x" }', "initScale"],
    ["r=8 alpha=16 optimizer=sgd lr=1 lr.__proto__=1", "__proto__"],
    ["r=8 alpha=16 optimizer=sgd lr=1 __proto__=1", "__proto__"],
    ['{ "r": 8, "alpha": 1e999, "optimizer": { "name": "sgd", "lr": 1 } }', "alpha"],
    [`{ "r": ${"[".repeat(5000)}${"]".repeat(5000)} }`, "nested more than 64 deep"],
    [`r=8 alpha=16 optimizer=sgd lr=1 x=${escaping}`, "x"],
  ])("explain refuses the recipe %s", async (recipe, message) => {
    const { code, stdout, stderr } = await lorantz("explain", recipe, "r=8 alpha=16 optimizer=sgd lr=1");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr).not.toContain("\x1b");
    expect(stderr).toMatch(/^lorantz: .*\n$/);
  });

  test.each([
    ["5", "{"],
    ['{ "recipe": 5, "vary": 5 }', "{"],
    ['[[[]], "x"]', "["],
    [
      '{ "recipe": { "r": 8, "alpha": 16, "optimizer": { "name": "sgd", "lr": 1 } }, "vary": { "__proto__": [1] } }',
      "{",
    ],
    [`${"[".repeat(5000)}${"]".repeat(5000)}`, "["],
  ])("sweep-plan refuses %s", async (grid) => {
    const { code, stdout, stderr } = await lorantz("sweep-plan", grid);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^lorantz: .*\n$/);
  });

  test("oracle names files that are no references, and prints nothing of theirs raw", async () => {
    const file = (name: string, content: string) => writeFileSync(at(name), content);
    file("deep.json", `${"[".repeat(5000)}${"]".repeat(5000)}`);
    file("list.json", "[]");
    file(`${escaping}.json`, "{}");
    file(
      "kind.json",
      JSON.stringify({ format: 1, kind: `k${escaping}\nFAILED`, cases: [{ name: `${escaping}\nx` }] }),
    );
    const { code, stdout } = await lorantz("oracle", folder, "--backend", "evaluator");
    expect(code).toBe(1);
    expect(stdout).toContain("deep.json: arrays and objects are nested more than 64 deep");
    expect(stdout).toContain("list.json: expected an object; found []");
    expect(stdout).not.toMatch(/(?!\n)\p{Cc}|^FAILED$/mu);
  });
});

describe("standard streams", () => {
  let program: string;
  let home: string;
  beforeAll(async () => {
    home = fresh();
    // As installed: the version is read from beside it.
    program = join(home, "dist", "cli", "main.js");
    mkdirSync(join(home, "dist", "cli"), { recursive: true });
    writeFileSync(join(home, "package.json"), readFileSync(`${root}package.json`));
    symlinkSync(`${root}node_modules`, join(home, "node_modules"));
    writeFileSync(program, await bundle(`${root}src/cli/main.ts`));
  });

  const texts = () => {
    writeFileSync(at("text"), "It was the best of times, it was the worst of times. ".repeat(40));
    return ["--base", at("text"), "--target", at("text"), "--backend", "cpu"];
  };
  const shell = (script: string) =>
    spawnSync("bash", ["-c", `set -o pipefail; ${script}`], { encoding: "utf8", timeout: 60_000 });

  test("a full disk is a failure that says so", () => {
    const full = openSync("/dev/full", "w");
    const { status, stderr } = spawnSync(process.execPath, [program, "--help"], {
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
    });
    closeSync(full);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: "lorantz: cannot write to standard output (no space is left).\n",
    });
  });

  test("a reader that goes after the first line has seen what it wanted", () => {
    const { status, stdout, stderr } = shell(`${process.execPath} ${program} --help | head -1`);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: "Usage: lorantz COMMAND [OPTIONS]\n",
      stderr: "",
    });
  });

  test("work whose messages nobody reads is broken off, and leaves nothing", () => {
    const out = at("results");
    const args = [...texts(), "--out", out].join(" ");
    const { status, stdout } = shell(`${process.execPath} ${program} theorem ${args} 2>&1 | head -1`);
    expect({ status, stdout }).toEqual({
      status: 141,
      stdout: expect.stringMatching(/^Training on cpu.*\n$/),
    });
    expect(readdirSync(folder)).toEqual(["text"]);
  });

  long("a signal ends the work with its own code, and leaves nothing", async () => {
    for (const [signal, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const child = spawn(process.execPath, [program, "theorem", ...texts(), "--out", "relative/folder"], {
        cwd: folder,
        stdio: ["ignore", "ignore", "pipe"],
      });
      let stderr = "";
      child.stderr.setEncoding("utf8").on("data", (text) => {
        if (!stderr) child.kill(signal); // it has begun
        stderr += text;
      });
      expect(await new Promise((resolve) => child.once("close", resolve))).toBe(code);
      expect(stderr).toContain("Interrupted; nothing was written.");
      expect(readdirSync(folder)).toEqual(["text"]);
    }
  });

  test("output may go to a standard stream", () => {
    const filter = "--backend cpu --small --time 1 --filter ^softmax --json /dev/stdout";
    const { status, stdout } = shell(
      `${process.execPath} ${program} bench ${filter} 2>/dev/null > ${at("got")} && cat ${at("got")}`,
    );
    expect(status).toBe(0);
    const [, json, rest] = stdout.match(/^(\{[\s\S]*?\n\})\n([\s\S]*)$/)!;
    expect(JSON.parse(json!)).toMatchObject({ schema: "lorantz-bench-1" });
    expect(rest).toMatch(/^Lorantz /);
  });
});

test("what can be made again is kept below the cache of the user, wherever that is", () => {
  try {
    for (const [value, place] of [
      ["/somewhere", join("/somewhere", "lorantz", "a")],
      ["", join(homedir(), ".cache", "lorantz", "a")],
    ] as const) {
      vi.stubEnv("XDG_CACHE_HOME", value);
      expect(cacheFolder("a")).toBe(place);
    }
  } finally {
    vi.unstubAllEnvs();
  }
});
