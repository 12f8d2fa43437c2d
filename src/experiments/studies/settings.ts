import type { Recipe } from "../../gauge/index.ts";
import type { Task } from "../language/tasks.ts";
import type { Trial } from "./study.ts";

/** Text-to-SQL with queries of 201 to 800 characters, as the article filters them, and with shorter ones. */
export const hardSql: Task = { name: "sql", least: 201, most: 800 };
export const easySql: Task = { name: "sql", least: 0, most: 200 };

/** Learning rates that are tried wherever one is chosen. */
export const rates = [1e-3, 4e-3, 1.6e-2, 6.4e-2] as const;

/** Learning rates of all weights, likewise. */
export const fullRates = [2.5e-4, 1e-3, 4e-3, 1.6e-2] as const;

/** LoRA with AdamW, unless it says otherwise. */
export function lora(own: {
  readonly r?: number;
  readonly alpha?: number;
  readonly lr: number;
  readonly rsLora?: boolean;
  /** The rate of B over that of A. */
  readonly ratio?: number;
  readonly more?: Partial<Recipe>;
}): Recipe {
  const { r = 8, alpha = 16, lr, rsLora, ratio, more } = own;
  return {
    r,
    alpha,
    ...(rsLora !== undefined && { rsLora }),
    optimizer: { name: "adamw", lr, weightDecay: 0 },
    ...(ratio !== undefined && { groups: { B: { lr: lr * ratio } } }),
    ...more,
  } as Recipe; // of AdamW, unless `more` has another optimizer
}

/** All weights in place of adapters. */
export function full(lr: number): Recipe {
  return { r: 1, alpha: 1, trained: ["base"], optimizer: { name: "adamw", lr, weightDecay: 0 } };
}

/** What is asked of a base that was tuned for SQL: what it could do before. */
export const formerly = ["arithmetic", "english"].map((name) => ({ kind: "task" as const, task: { name } }));

/** All weights on text-to-SQL. Studies share these runs, with what one of them measures besides. */
export const fullOnSql = (lr: number, seed: number): Trial => ({
  task: hardSql,
  recipe: full(lr),
  seed,
  probes: formerly,
});

/** LoRA of rank 8 on text-to-SQL. Studies share these runs. */
export const loraOnSql = (lr: number, seed: number): Trial => ({ task: hardSql, recipe: lora({ lr }), seed });
