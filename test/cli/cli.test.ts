import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { Progress } from "../../src/cli/progress.ts";
import { loadDataset, readText } from "../../src/cli/texts.ts";
import { parseOptions, UsageError, wholeNumber } from "../../src/cli/usage.ts";
import { version } from "../../src/cli/version.ts";
import { lorantz } from "../command.ts";
import { scratch } from "../scratch.ts";

const { root: folder } = scratch("cli");
afterEach(() => vi.restoreAllMocks());

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const text = "It was the best of times, it was the worst of times. ".repeat(40);

test("help and version go to stdout with code 0", async () => {
  const help = await lorantz("--help");
  expect(help).toMatchObject({ code: 0, stderr: "" });
  for (const command of ["theorem", "oracle", "doctor"]) expect(help.stdout).toContain(`  ${command}`);
  expect(await lorantz("--version")).toEqual({ code: 0, stdout: `${version()}\n`, stderr: "" });
  const theorem = await lorantz("theorem", "--help");
  expect(theorem).toMatchObject({ code: 0, stderr: "" });
  for (const option of [
    "--json",
    "--seed",
    "--steps",
    "--backend",
    "--out",
    "--base",
    "--target",
    "--help",
  ]) {
    expect(theorem.stdout).toContain(option);
  }
});

test.each([
  [[], "a command is missing"],
  [["train"], '"train" is no command. Commands are theorem'],
  [["toString"], '"toString" is no command'],
  [["--verbose"], '"--verbose" is no command'],
  [["theorem", "--rank", "8"], "--rank"],
  [["theorem", "--seed"], "--seed"],
  [["theorem", "moby.txt"], "moby.txt"],
  [["theorem", "--seed", "-1"], "--seed"],
  [["theorem", "--seed", "1.5"], '--seed is "1.5"; it is a whole number from 0 to 4294967295'],
  [["theorem", "--seed", "4294967296"], '--seed is "4294967296"'],
  [["theorem", "--steps", "many"], '--steps is "many"; it is a whole number from'],
  [["theorem", "--steps", "0"], '--steps is "0"'],
  [["theorem", "--steps", ""], '--steps is ""'],
  [["theorem", "--backend", "cuda"], '--backend is "cuda"; it is cpu or webgpu'],
])("lorantz %j is refused on stderr with code 2", async (args, message) => {
  const { code, stdout, stderr } = await lorantz(...args);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(message);
  expect(stderr).toMatch(/^lorantz: .*\n$/);
});

test("texts that cannot be used are refused before anything is written, with code 2", async () => {
  const good = file("good.txt", text);
  const out = join(folder, "never");
  const cases: readonly (readonly [base: string, message: string])[] = [
    [join(folder, "missing.txt"), "there is no such file"],
    [folder, "it is a folder"],
    [file("empty.txt", ""), "the file is empty"],
    [file("latin1.txt", Buffer.from("caf\xe9 au lait", "latin1")), "not UTF-8 (byte 4 is 0x20)"],
    [file("cut.txt", Buffer.from("café").subarray(0, 4)), "not UTF-8 (byte 3 is 0xc3)"],
    [file("short.txt", "Call me Ishmael."), "the text has 5 tokens; at least 320 are needed"],
  ];
  for (const [base, message] of cases) {
    const { code, stdout, stderr } = await lorantz("theorem", "--base", base, "--target", good, "--out", out);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(base);
    expect(stderr).toContain(message);
    expect(readdirSync(folder)).not.toContain("never");
  }
});

test("one text without the other is refused", async () => {
  const { code, stderr } = await lorantz("theorem", "--base", file("good.txt", text));
  expect(code).toBe(2);
  expect(stderr).toContain("--target FILE is missing");
});

test("an output folder that cannot be written is refused before training", async () => {
  const good = file("good.txt", text);
  const blocked = join(file("file.txt", "x"), "out");
  const { code, stderr } = await lorantz("theorem", "--base", good, "--target", good, "--out", blocked);
  expect(code).toBe(2);
  expect(stderr).toContain(
    `--out ${join(blocked, "results.json")}: cannot write there (a part of the path is a file)`,
  );

  const taken = join(folder, "taken");
  mkdirSync(join(taken, "results.json"), { recursive: true });
  const second = await lorantz("theorem", "--base", good, "--target", good, "--out", taken);
  expect(second.code).toBe(2);
  expect(second.stderr).toContain("results.json: cannot write there (it is not a file)");
});

test("valid text is read as it is, whatever its script", () => {
  const words = "naïve Ἰλιάς 白鯨 🐋";
  const { text, name } = readText("base", file("words.txt", words));
  expect(text).toBe(words);
  expect(name).toBe(join(folder, "words.txt"));
});

test("the data packages have the texts", async () => {
  const base = await loadDataset("base");
  expect(base.name).toContain("Moby Dick");
  expect(base.text).toContain("Call me Ishmael.");
  const target = await loadDataset("target");
  expect(target.text).toContain("Fellow-Citizens of the Senate");
});

test("options are read by their table", () => {
  const options = {
    json: { type: "boolean", help: "" },
    seed: { type: "string", short: "s", value: "N", help: "" },
  } as const;
  expect(parseOptions("demo", ["--json", "-s", "3"], options, "")).toMatchObject({ json: true, seed: "3" });
  expect(parseOptions("demo", [], options, "").seed).toBeUndefined();
  expect(() => parseOptions("demo", ["--sed", "3"], options, "")).toThrow(UsageError);
  expect(() => parseOptions("demo", ["--json", "-h"], options, "of demo")).toThrow("of demo");
  expect(wholeNumber("seed", undefined, { min: 0, max: 9, otherwise: 4 })).toBe(4);
  expect(wholeNumber("seed", "9", { min: 0, max: 9, otherwise: 4 })).toBe(9);
});

test("progress is one line on a terminal, and sparse lines elsewhere", () => {
  let clock = 0;
  const write = (screen: { text: string }) => (text: string) => {
    screen.text += text;
  };
  const terminal = { text: "", isTTY: true, columns: 60, write: (text: string) => write(terminal)(text) };
  const log = { text: "", write: (text: string) => write(log)(text) };
  const both = [terminal, log].map((screen) => new Progress(screen, () => clock));
  for (; clock <= 60_000; clock += 50)
    for (const progress of both) progress.update(clock, 60_000, "a rather long name of a run");
  for (const progress of both) progress.end();
  expect(terminal.text).not.toContain("\n");
  expect(terminal.text.endsWith("\r\x1b[2K")).toBe(true);
  for (const line of terminal.text.split("\r\x1b[2K")) expect([...line].length).toBeLessThan(60);
  expect(log.text.split("\n").length).toBe(8);
  expect(log.text).not.toContain("\r");
  expect(log.text).toContain(" 50%  a rather long name of a run (30 s, 30 s left)");
});
