import { beforeAll, describe, expect, test } from "vitest";
import { type Device, init } from "../../src/index.ts";
import { canonicalGraphs } from "../graphs.ts";
import { wgslPrinter } from "../printer.ts";

// The generated code of a dozen graphs, as WebAssembly and as WGSL for a GPU of fixed limits. When a change alters
// kernels on purpose, look at the difference and renew the files with `npx vitest run test/compile/golden.test.ts -u`.

function suite(language: string, extension: string, open: () => Promise<Device>): void {
  describe(`golden kernels in ${language}`, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });

    test.each(canonicalGraphs)("$name: $kernels kernels, as $why", async ({ name, kernels, run }) => {
      const { schedule, sources, kernels: count } = await run(device);
      const text = `${schedule}\n\n${sources.map((source) => source.trim()).join("\n\n")}\n`;
      await expect(text).toMatchFileSnapshot(`golden/${name}.${extension}`);
      expect(count).toBe(kernels);
    });
  });
}

suite("WebAssembly", "wasm.txt", () => init({ backend: "cpu", threads: 1, relaxed: false }));
suite("WGSL", "wgsl.txt", async () => wgslPrinter());
