import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { init } from "../../src/index.ts";
import { bundle, root } from "../command.ts";
import { scratch } from "../scratch.ts";
import { writeTinyModel } from "../tiny-model.ts";

// The command `tune` in a process of its own, killed again and again by a signal that nobody can catch.

const { root: folder } = scratch("killed");
const at = (...names: string[]) => join(folder, ...names);
const program = at("dist", "cli", "main.mjs");

beforeAll(async () => {
  await init({ backend: "cpu" });
  await writeTinyModel(folder);
  const lines = Array.from({ length: 24 }, (_, i) =>
    JSON.stringify({ prompt: `${i}+1=`, completion: `${i + 1}` }),
  );
  writeFileSync(at("train.jsonl"), lines.join("\n"));
  mkdirSync(at("dist", "cli"), { recursive: true });
  copyFileSync(join(root, "package.json"), at("package.json"));
  writeFileSync(program, await bundle("src/cli/main.ts"));
}, 60_000);

/** The arguments of `tune`, which goes on where a run is there. */
function argumentsOf(out: string): string[] {
  return [
    ...["tune", "--model", folder, "--tokenizer", "bytes", "--backend", "cpu", "--data", at("train.jsonl")],
    ...["--batch", "2", "--accumulate", "2", "--held-out", "0.2", "--epochs", "4", "--every", "2"],
    ...["--recipe", "optimizer=adamw r=2 alpha=4 lr=0.05 dropout=0.1", "--out", out],
    ...(existsSync(join(out, "training", "last.safetensors")) ? ["--resume"] : []),
  ];
}

/** Runs it to its end, or kills it some milliseconds after it has begun to train; resolves to its exit code. */
function tune(out: string, killAfter?: number): Promise<number | null> {
  const args = argumentsOf(out);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.on("data", (said: Buffer) => {
      if (killAfter !== undefined && said.includes("Training on"))
        setTimeout(() => child.kill("SIGKILL"), killAfter);
    });
    child.on("error", reject);
    child.on("close", resolve);
  });
}

test("lorantz tune, killed at many moments and resumed, writes the adapter of an unbroken run", {
  timeout: 600_000,
}, async () => {
  expect(await tune(at("whole"))).toBe(0);
  let [killed, code]: [number, number | null] = [0, null];
  // Each run comes a little further before it is killed, and the last one to its end.
  for (const after of [0, 30, 100, 150, 200, 250, 300, 350, 400, undefined]) {
    code = await tune(at("broken"), after);
    if (code !== null) break;
    killed++;
  }
  expect(code).toBe(0);
  expect(killed).toBeGreaterThan(0);
  const results = (run: string) => {
    const { trajectory, losses, evaluations, written } = JSON.parse(
      readFileSync(at(run, "results.json"), "utf8"),
    ) as Record<string, unknown>;
    return { trajectory, losses, evaluations, written };
  };
  expect(results("broken")).toEqual(results("whole"));
  for (const name of ["adapter_config.json", "adapter_model.safetensors"])
    expect(readFileSync(at("broken", name)).equals(readFileSync(at("whole", name)))).toBe(true);
  expect(readdirSync(at("broken")).sort()).toEqual(readdirSync(at("whole")).sort());
  expect(readdirSync(at("broken", "training")).sort()).toEqual(["best.safetensors", "last.safetensors"]);
});

test("lorantz tune on a full disk says so, and leaves no file in part", { timeout: 120_000 }, () => {
  // Files may not grow beyond a kilobyte, which is the same to who writes them.
  const { status, stderr } = spawnSync(
    "bash",
    ["-c", 'ulimit -f 1; exec "$@"', "", process.execPath, program, ...argumentsOf(at("full"))],
    { encoding: "utf8" },
  );
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: expect.stringMatching(/full.*: cannot be written \(.*\)\. Make room or give another path/),
  });
  expect(existsSync(at("full")) ? readdirSync(at("full"), { recursive: true }) : []).toEqual([]);
});
