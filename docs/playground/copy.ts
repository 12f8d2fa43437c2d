import type * as gauge from "lorantz/gauge";
import { type Experiment, type RunName, recipeOf } from "./experiment.ts";

// A run as others write it.

const libraries = { PEFT: "peft", "MLX-LM": "mlx-lm" } as const satisfies Record<string, gauge.LibraryName>;

export const copies = ["recipe", "PEFT", "MLX-LM", "TypeScript"] as const;
export type CopyName = (typeof copies)[number];

/** The text of a run in that form; what a tool cannot say is said in comments. */
export async function copyOf(name: CopyName, experiment: Experiment, run: RunName): Promise<string> {
  const recipe = recipeOf(experiment, run);
  if (name === "recipe") return `${JSON.stringify(recipe, null, 2)}\n`;
  if (name === "TypeScript") return program(recipe, experiment.seed);
  const { inLibrary } = await import("./in-library.ts"); // loaded where it is wanted
  return inLibrary(libraries[name], recipe);
}

function program(recipe: gauge.Recipe, seed: number): string {
  return `import { random } from "lorantz";
import * as gauge from "lorantz/gauge";
import * as lora from "lorantz/lora";
import { train } from "lorantz/train";

const recipe: gauge.Recipe = ${JSON.stringify(recipe, null, 2)};

// model, its parameters, loss and batches are yours
const adapted = lora.inject(model, { ...recipe, targetModules: "all-linear" });
const params = adapted.init(random.key(${seed}), base);
for await (const event of train({ params, loss, batches, recipe, steps: 100 }))
  if (event.kind === "step") console.log(event.step, event.loss);
`;
}
