import { beforeAll, describe, expect, test } from "vitest";
import { evidence } from "../src/experiments/symmetry/evidence.ts";
import { forms } from "../src/experiments/symmetry/forms.ts";
import { init } from "../src/index.ts";

// The experiment behind `lorantz symmetry`, on a few forms; the discovery beside it has tests of its own.

describe("a run beside its gauge partners", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
  });

  test.each(["SGD, coupled decay", "AdamW", "Adadelta, one eps"])("%s", async (name) => {
    const measured = await evidence(forms.find((form) => form.name === name)!, 1);
    if ("refused" in measured) throw new Error(measured.refused);
    expect(measured.bitwise).toBe(true);
    expect(measured.float64).toBeLessThan(1e-13);
    expect(measured.float32).toBeLessThan(1e-5);
    expect(Object.keys(measured.unchanged).length).toBeGreaterThan(1);
    for (const by of Object.values(measured.unchanged)) expect(by).toBeGreaterThan(1e-4);
  });

  test("a form without a rule is refused with the reason", async () => {
    const measured = await evidence(forms.find(({ name }) => name === "RAdam, one rate")!);
    expect(measured).toMatchObject({ form: "RAdam, one rate" });
    expect("refused" in measured && measured.refused).toMatch(/no exact rule is known for radam/);
  });
});
