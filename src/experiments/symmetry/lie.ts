import { type LieAlgebra, lieAlgebra } from "../../gauge/index.ts";
import * as optim from "../../optim/index.ts";
import { orthogonalised } from "../../optim/small-matrix.ts";
import { scalar } from "../../tensor/creation.ts";
import * as tree from "../../tensor/tree.ts";

/** A rule beside what theory says of its matrix symmetries at rank r. */
export interface LieForm {
  readonly name: string;
  /** From the numbers of each factor. */
  readonly make: (hyper: LieHyper) => optim.Optimizer;
  readonly hyper: Numbers;
  /** How many there are at fixed hyperparameters, and where they may change. */
  readonly theory: (r: number) => readonly [fixed: number, withHyper: number];
}

type Numbers = Readonly<Record<string, number>>;

export interface LieHyper {
  readonly A: Numbers;
  readonly B: Numbers;
}

const rotations = (r: number) => (r * (r - 1)) / 2;
const turning = (r: number) => [rotations(r), rotations(r) + 1] as const;
const all = (r: number) => [r * r, r * r] as const;
const none = () => [0, 1] as const;

/** An optimizer of the library with numbers for each factor. */
const own =
  (name: string, rest: object = {}) =>
  ({ A, B }: LieHyper): optim.Optimizer =>
    optim.make({
      name,
      ...rest,
      ...A,
      groups: [{ match: "loraB", ...B }],
    } as unknown as optim.OptimizerConfig);

/** Muon of each factor by itself: the library has it for pairs only. */
function muon({ A, B }: LieHyper): optim.Optimizer {
  const rate = (path: string) => scalar(-(path.endsWith("loraB") ? B : A).lr!);
  return {
    name: "muon",
    defaults: {},
    hyper: () => ({}),
    init: () => ({ step: scalar(0) }),
    update: (gradients, state) => [
      tree.map(gradients, (g, path) => orthogonalised(g).mul(rate(path))),
      { step: state.step.add(1) },
    ],
  };
}

function clipped({ A, B }: LieHyper): optim.Optimizer {
  const inner = own("sgd")({ A: { lr: A.lr! }, B: { lr: B.lr! } });
  const bound = (path: string) => (path.endsWith("loraB") ? B : A).maxValue!;
  return {
    ...inner,
    update: (gradients, state, params) => inner.update(optim.clipByValue(gradients, bound), state, params),
  };
}

/** The rules of the table, with numbers large enough that each of them matters. */
export const lieForms: readonly LieForm[] = [
  { name: "SGD", make: own("sgd"), hyper: { lr: 0.1 }, theory: turning },
  {
    name: "SGD, momentum and decay",
    make: own("sgd", { momentum: 0.9 }),
    hyper: { lr: 0.1, weightDecay: 0.1 },
    theory: turning,
  },
  { name: "SGD, clipped by value", make: clipped, hyper: { lr: 0.1, maxValue: 0.3 }, theory: none },
  { name: "Adam", make: own("adam"), hyper: { lr: 0.1, eps: 0.1 }, theory: none },
  { name: "AdamW", make: own("adamw"), hyper: { lr: 0.1, eps: 0.1, weightDecay: 0.1 }, theory: none },
  { name: "Lion", make: own("lion"), hyper: { lr: 0.1, weightDecay: 0.1 }, theory: none },
  { name: "Muon", make: muon, hyper: { lr: 0.1 }, theory: turning },
  { name: "scaled SGD (Riemannian)", make: own("scaledSgd", { reg: 0 }), hyper: { lr: 0.1 }, theory: all },
  { name: "scaled SGD, damped", make: own("scaledSgd"), hyper: { lr: 0.1, reg: 0.3 }, theory: turning },
  {
    name: "scaled AdamW",
    make: own("scaledAdamw", { reg: 0 }),
    hyper: { lr: 0.1, eps: 0.1, weightDecay: 0.1 },
    theory: none,
  },
  { name: "LoRA-RITE", make: own("loraRite", { reg: 0 }), hyper: { lr: 0.1, eps: 0.1 }, theory: all },
  { name: "LoRA-Muon", make: own("loraMuon", { reg: 0 }), hyper: { lr: 0.1, weightDecay: 0.1 }, theory: all },
];

/** Measures the algebra of a rule at rank r. */
export function measure({ make, hyper }: LieForm, r: number): Promise<LieAlgebra> {
  return lieAlgebra(make, { hyper: { A: hyper, B: hyper }, r });
}
