import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { root } from "../command.ts";
import { scratch } from "../scratch.ts";

// The package as others install it: what it holds, and projects of their own that use it.

/** What the projects have beside the package; at exact versions. */
const tools = {
  ts52: "npm:typescript@5.2.2",
  ts53: "npm:typescript@5.3.3",
  ts54: "npm:typescript@5.4.5",
  ts55: "npm:typescript@5.5.4",
  ts56: "npm:typescript@5.6.3",
  ts57: "npm:typescript@5.7.3",
  ts58: "npm:typescript@5.8.3",
  ts59: "npm:typescript@5.9.3",
  ts6: "npm:typescript@6.0.3",
  ts7: "npm:typescript@7.0.2",
  esbuild: "0.28.2",
  webpack: "5.113.0",
  vite: "8.3.8",
  "fast-check": "4.10.2",
};

const { root: folder } = scratch("package");
let files: readonly string[];

function run(command: string, args: readonly string[], cwd: string) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 300_000 });
  return { status, stdout, stderr };
}
const node = (...args: string[]) => run(process.execPath, args, folder);
const write = (name: string, text: string) => {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), text);
};

beforeAll(() => {
  const packed = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [{ filename, files: list }] = JSON.parse(packed.slice(packed.indexOf("["))) as [
    { readonly filename: string; readonly files: readonly { readonly path: string }[] },
  ];
  files = list.map(({ path }) => path);
  const dependencies = { ...tools, lorantz: `file:./${filename}` };
  write("package.json", JSON.stringify({ private: true, type: "module", dependencies }));
  execFileSync("npm", ["install", "--no-audit", "--no-fund"], { cwd: folder, stdio: "ignore" });
}, 600_000);

test("it holds what its pages link to", () => {
  const pages = files.filter((file) => file.endsWith(".md"));
  expect(pages).toContain("README.md");
  for (const page of pages) {
    const links = readFileSync(join(root, page), "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)/g);
    for (const [, link] of links) expect(files, `${page} links to it`).toContain(join(dirname(page), link!));
  }
});

test("the command runs, also in a clone after each build", () => {
  expect(run("npx", ["lorantz", "--version"], folder)).toMatchObject({ status: 0, stdout: "0.1.0\n" });
  expect(statSync(`${root}dist/cli/main.js`).mode & 0o111).toBe(0o111); // packing has built it
});

describe("in a project of its own", () => {
  const program = `
    const device = await init({ backend: "cpu" });
    const values = await tensor([1, 2]).mul(3).toArray();
    console.log(values.join(), typeof inject);
    device.dispose();`;
  const imports = 'import { init, tensor } from "lorantz"; import { inject } from "lorantz/lora";';
  const expected = { status: 0, stdout: "3,6 function\n", stderr: "" };

  test("as an ES module", () => {
    write("main.mjs", imports + program);
    expect(node("main.mjs")).toEqual(expected);
  });

  test("from CommonJS, by require where Node can and by import", () => {
    const load = (name: string) =>
      `const { init, tensor } = ${name}("lorantz"); const { inject } = ${name}("lorantz/lora");`;
    write("import.cjs", `(async () => { ${load("await import")} ${program} })();`);
    expect(node("import.cjs")).toEqual(expected);
    write("require.cjs", `${load("require")} (async () => { ${program} })();`);
    expect(node("require.cjs")).toMatchObject({ status: 0, stdout: expected.stdout });
  });

  const bundlers: readonly (readonly [name: string, script: string])[] = [
    [
      "esbuild, in files",
      `await (await import("esbuild")).build({ entryPoints: ["main.mjs"], bundle: true, splitting: true, format: "esm",
        platform: "node", outdir: "out", outExtension: { ".js": ".mjs" }, external: ["webgpu"], logLevel: "error" });`,
    ],
    [
      "esbuild, in one piece",
      `await (await import("esbuild")).build({ entryPoints: ["main.mjs"], bundle: true, format: "esm", platform: "node",
        conditions: ["browser"], outfile: "out/main.mjs", external: ["webgpu"], logLevel: "error" });`,
    ],
    [
      "webpack",
      `const { default: webpack } = await import("webpack");
      await new Promise((resolve, reject) => webpack({ mode: "production", entry: "./main.mjs", target: "node20",
        externals: { webgpu: "module webgpu" }, experiments: { outputModule: true },
        output: { path: process.cwd() + "/out", filename: "main.mjs", chunkFormat: "module", library: { type: "module" } },
      }, (error, stats) => error || stats.hasErrors() || stats.hasWarnings()
        ? reject(error ?? new Error(stats.toString({ all: false, errors: true, warnings: true }))) : resolve()));`,
    ],
    [
      "Vite",
      `await (await import("vite")).build({ configFile: false, logLevel: "error", build: { outDir: "out",
        lib: { entry: "main.mjs", formats: ["es"], fileName: () => "main.mjs" }, rolldownOptions: { external: ["webgpu"] },
      } });`,
    ],
  ];
  test.each(bundlers)("bundled by %s", (_, script) => {
    write("main.mjs", imports + program);
    rmSync(join(folder, "out"), { recursive: true, force: true });
    write("bundle.mjs", script);
    expect(node("bundle.mjs")).toEqual({ status: 0, stdout: "", stderr: "" });
    expect(node("out/main.mjs")).toEqual(expected);
  });

  test("as one module", () => {
    write(
      "one.mjs",
      `import { init, tensor, lora } from "lorantz/browser"; const { inject } = lora; ${program}`,
    );
    expect(node("one.mjs")).toEqual(expected);
  });

  const resolutions = [
    ["bundler", "esnext"],
    ["node16", "node16"],
    ["nodenext", "nodenext"],
  ] as const;
  const compilers = Object.keys(tools).filter((name) => name.startsWith("ts"));
  // Of those between the oldest and the newest one each, but for the middle.
  const between = ["ts53", "ts54", "ts56", "ts57", "ts58"];
  const asked = compilers.flatMap((name) =>
    resolutions
      .filter(([how]) => !between.includes(name) || how === "nodenext")
      .map(([how, module]) => [name, how, module] as const),
  );
  test.each(asked)("with the types of %s, resolved by %s", (name, moduleResolution, module) => {
    const [example] = readFileSync(`${root}README.md`, "utf8").match(/(?<=^```ts\n)[\s\S]*?(?=^```)/m)!;
    write(
      "types.ts",
      `${example}
        import * as adapters from "lorantz/adapters";
        import * as browser from "lorantz/browser";
        import * as experiments from "lorantz/experiments";
        import * as gauge from "lorantz/gauge";
        import * as io from "lorantz/io";
        import * as laws from "lorantz/laws";
        console.log(adapters, browser, experiments, gauge, io, laws);
        { using own = await init(); console.log(own.name); }`,
    );
    const options = { noEmit: true, strict: true, target: "es2022", lib: ["es2022", "dom"], types: [] };
    const compilerOptions = { ...options, module, moduleResolution };
    write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["types.ts"] }));
    expect(node(`node_modules/${name}/bin/tsc`, "-p", ".")).toEqual({ status: 0, stdout: "", stderr: "" });
  });
});
