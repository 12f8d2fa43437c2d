import { beforeAll, describe, expect, test } from "vitest";
import { type Device, init } from "../src/index.ts";
import { canonicalGraphs } from "./graphs.ts";

// The generated JavaScript of a dozen graphs. When a change alters kernels on purpose, look at the difference
// and renew the files with `npx vitest run test/golden.test.ts -u`.

describe("golden kernels", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });

  test.each(canonicalGraphs)("$name: $kernels kernels, as $why", async ({ name, kernels, run }) => {
    const { schedule, sources, kernels: count } = await run(device);
    await expect(`${schedule}\n\n${sources.join("\n\n")}\n`).toMatchFileSnapshot(`golden/${name}.txt`);
    expect(count).toBe(kernels);
  });
});
