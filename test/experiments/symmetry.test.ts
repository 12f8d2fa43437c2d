import { beforeAll, describe, expect, test } from "vitest";
import { evidence } from "../../src/experiments/symmetry/evidence.ts";
import { forms } from "../../src/experiments/symmetry/forms.ts";
import { type LieForm, lieForms, measure } from "../../src/experiments/symmetry/lie.ts";
import { lieAlgebra } from "../../src/gauge/index.ts";
import { init } from "../../src/index.ts";
import * as optim from "../../src/optim/index.ts";
import { long } from "../long.ts";
import { cases, everyNth } from "../thorough.ts";

// The experiment behind `lorantz symmetry`, on a few forms; the discovery beside it has tests of its own.

describe("a run beside its gauge partners", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
  });

  test.each(cases(["AdamW"], ["SGD, coupled decay", "Adadelta, one eps"]))("%s", async (name) => {
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

describe("the Lie algebra of a rule", () => {
  const formOf = (name: string) => lieForms.find((form) => form.name === name)!;

  // Table of the theory at r = 3, of nine dimensions: at fixed numbers, and with numbers for each factor that may change.
  const table: readonly (readonly [name: string, fixed: number, joint: number])[] = [
    ["SGD", 3, 4],
    ["Adam", 0, 1],
    ["Muon", 3, 4],
    ["scaled SGD (Riemannian)", 9, 9],
    ["scaled SGD, damped", 3, 4],
    ["SGD, clipped by value", 0, 1],
    ["LoRA-RITE", 9, 9],
    ["LoRA-Muon", 9, 9],
    ["scaled AdamW", 0, 1],
  ];
  test.each(everyNth(3, table))("%s: %i, and %i with hyperparameters", async (name, fixed, joint) => {
    const found = await measure(formOf(name), 3);
    expect([found.dimension, found.withHyper.dimension]).toEqual([fixed, joint]);
    // The rank is no matter of taste: four orders of magnitude at least lie between what was kept and what was dropped.
    for (const { gap, singularValues } of [found, found.withHyper]) {
      const [kept, dropped] = gap;
      if (kept > 0) expect(kept).toBeGreaterThan(1e4 * dropped);
      expect(dropped).toBeLessThan(1e-7);
      expect(singularValues).toEqual([...singularValues].sort((a, b) => b - a));
    }
  });

  test("generators are what theory says: rotations, and the scalar gauge with the rule of its numbers", async () => {
    const { basis, withHyper } = await measure(formOf("SGD"), 3);
    for (const { matrix } of basis)
      matrix.forEach((row, i) => {
        row.forEach((x, j) => {
          expect(x).toBeCloseTo(-matrix[j]![i]!, 5);
        });
      });
    const unit = withHyper.basis.find(({ matrix }) => matrix[0]![0] === 1)!;
    expect(unit.matrix[1]![1]).toBeCloseTo(1, 5);
    expect(unit.hyper["A.lr"]).toBeCloseTo(2, 5);
    expect(unit.hyper["B.lr"]).toBeCloseTo(-2, 5);
    const adam = (await measure(formOf("Adam"), 3)).withHyper.basis[0]!;
    expect(adam.hyper["A.eps"]).toBeCloseTo(-1, 5);
    // Inside Adam: eps_A' = eps / (a b^2), which for a b = 1 is a eps.
    const scaled = (await measure(formOf("scaled AdamW"), 3)).withHyper.basis[0]!;
    expect(scaled.hyper["A.eps"]).toBeCloseTo(1, 5);
    expect(scaled.hyper["A.lr"]).toBeCloseTo(1, 5);
  });

  long("at other ranks", async () => {
    for (const r of [1, 2, 4]) {
      const found = await measure(formOf("SGD"), r);
      expect(found.dimension).toBe((r * (r - 1)) / 2);
    }
    expect((await measure(formOf("scaled SGD (Riemannian)"), 2)).dimension).toBe(4);
  });

  test("a rule that breaks rotations a little has none", async () => {
    const wrong: LieForm = {
      ...formOf("SGD"),
      make: ({ A, B }) => {
        const inner = optim.sgd({ lr: A.lr!, groups: [{ match: "loraB", lr: B.lr! }] });
        return {
          ...inner,
          update: (gradients, state, params) => {
            const [updates, next] = inner.update(gradients, state, params);
            const { loraA, loraB } = updates as Record<string, import("../../src/index.ts").Tensor>;
            const bent = { loraA: loraA!.add(loraA!.square().mul(1e-3)), loraB };
            return [bent as typeof updates, next];
          },
        };
      },
    };
    expect((await measure(wrong, 3)).dimension).toBe(0);
  });

  test("a decay leaves a rule of pairs its algebra", async () => {
    const weightDecay = 0.3;
    const all = [
      optim.scaledSgd({ lr: 0.1, reg: 0, weightDecay, momentum: 0.5 }),
      optim.scaledSgd({ lr: 0.1, reg: 0, weightDecay, decoupledWeightDecay: true }),
      optim.loraRite({ lr: 0.1, reg: 0, eps: 0.1, weightDecay }),
    ];
    for (const rule of all) expect((await lieAlgebra(rule)).dimension).toBe(9);
    expect((await lieAlgebra(optim.scaledSgd({ lr: 0.1, reg: 0.3, weightDecay }))).dimension).toBe(3);
  });

  test("says what it cannot measure", async () => {
    await expect(lieAlgebra(optim.sgd({ lr: 0.1 }), { r: 0 })).rejects.toThrow("gauge.lieAlgebra: r is 0");
    await expect(lieAlgebra(optim.sgd({ lr: 0 }))).rejects.toThrow(/product of the factors changes by 0/);
  });
});
