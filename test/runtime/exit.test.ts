import { spawnSync } from "node:child_process";
import { beforeAll, expect, test } from "vitest";
import { bundle, root } from "../command.ts";
import { describeBackends } from "../devices.ts";
import { everyNth } from "../thorough.ts";

// A process that used a device ends by itself, whatever it was doing, and with the exit code of its script.

let library: string;
beforeAll(async () => {
  library = (await bundle(`${root}src/index.ts`)).replace(/export \{[^}]*\};?\s*$/, "");
});

/** How a script ends after its first step, its exit code, and what it prints. */
const endings: readonly [what: string, script: string, status: number, stdout?: string][] = [
  ["with the device open", "", 0],
  ["with the device disposed of", "device.dispose();", 0],
  ["with a step that nobody awaits", "void step(next, x);", 0],
  ["with a hundred of them", "for (let i = 0; i < 100; i++) void step(w, x);", 0],
  ["with values that nobody awaits", "void next.data(); void step(next, x).then((w) => w.data());", 0],
  [
    "with the device disposed of under a step",
    "const late = step(next, x); device.dispose(); await late.catch(() => {});",
    0,
  ],
  [
    "with a step that throws",
    "await compile(() => x.matmul(x))().catch((error) => console.log(error.name));",
    0,
    "ShapeError\n",
  ],
  ["with an error beside a step", 'void step(next, x); throw new Error("stop");', 1],
  ["with an error in the function of a step", 'await compile(() => { throw new Error("stop"); })();', 1],
  ["with process.exit beside a step", "void step(next, x); process.exit(3);", 3],
  ["with process.exit beside a read", "void next.data(); process.exit(3);", 3],
];

describeBackends("a process ends by itself", (backend) => {
  const run = (script: string) => {
    const { stdout, stderr, status, signal } = spawnSync(process.execPath, ["--input-type=module", "-"], {
      cwd: root,
      input: `${library}
      {
        const device = await init({ backend: "${backend}", threads: 3 });
        const x = tensor(new Float32Array(96 * 256).fill(1), { shape: [96, 256] });
        const w = tensor(new Float32Array(256 * 192).fill(0.5), { shape: [256, 192] });
        const step = compile((w, x) => w.sub(grad((w) => x.matmul(w).square().mean())(w)));
        ${script}
      }`,
      encoding: "utf8",
      timeout: 100_000, // of a machine that compiles for others too
    });
    return { stdout, stderr, status, signal };
  };

  test.for(everyNth(3, endings))("%s", ([, script, status, stdout = ""]) => {
    const found = run(`const next = await step(w, x);\nawait next.data();\n${script}`);
    expect(found).toMatchObject({ stdout, status, signal: null });
    if (status === 1) expect(found.stderr).toMatch(/Error: stop/);
  });

  test("before its first step has compiled", () => {
    expect(run("void step(w, x);")).toMatchObject({ status: 0, signal: null });
  });
});
