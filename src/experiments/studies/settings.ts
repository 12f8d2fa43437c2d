import type { Recipe } from "../../gauge/index.ts";
import type { Task } from "../language/tasks.ts";

/** Text-to-SQL with queries of 201 to 800 characters, as the article filters them, and with shorter ones. */
export const hardSql: Task = { name: "sql", least: 201, most: 800 };
export const easySql: Task = { name: "sql", least: 0, most: 200 };

/** Learning rates that are tried wherever one is chosen. */
export const rates = [1e-3, 4e-3, 1.6e-2, 6.4e-2] as const;

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
