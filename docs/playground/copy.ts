import { LorantzError } from "lorantz";
import * as gauge from "lorantz/gauge";
import { type Experiment, type RunName, recipeOf } from "./experiment.ts";

// A run as others write it.

const libraries = { PEFT: "peft", "MLX-LM": "mlx-lm" } as const satisfies Record<string, gauge.LibraryName>;

export const copies = ["recipe", "PEFT", "MLX-LM", "TypeScript"] as const;
export type CopyName = (typeof copies)[number];

/** The text of a run in that form; what a tool cannot say is said in comments. */
export function copyOf(name: CopyName, experiment: Experiment, run: RunName): string {
  const recipe = recipeOf(experiment, run);
  if (name === "recipe") return `${JSON.stringify(recipe, null, 2)}\n`;
  if (name === "TypeScript") return program(recipe, experiment.seed);
  return inLibrary(libraries[name], recipe);
}

/** The settings of a library, and what to know of them. */
export function inLibrary(library: gauge.LibraryName, recipe: gauge.Recipe): string {
  try {
    const { settings, notes } = gauge.convert(recipe, { to: "library", library });
    return `${notes.map((note) => `# ${note}\n`).join("")}${JSON.stringify(settings, null, 2)}\n`;
  } catch (error) {
    if (!(error instanceof LorantzError)) throw error;
    return `# ${error.message}\n`;
  }
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
