import { init } from "lorantz";
import * as adapters from "lorantz/adapters";
import * as gauge from "lorantz/gauge";
import { openFolder } from "lorantz/io";
import { button, copy, find } from "./dom.ts";
import { inLibrary } from "./in-library.ts";
import { short } from "./svg.ts";

// A recipe as it is pasted: what it is, what equals it, and who reads its adapter differently. No device computes but for
// files that are dropped.

const libraries = Object.keys(gauge.libraries) as gauge.LibraryName[];

const own = "Lorantz";
const examples: Readonly<Record<string, { readonly tool: string; readonly text: string }>> = {
  "key=value": { tool: own, text: "optimizer=adamw r=8 alpha=16 lr=2e-4 lr.B=8e-4" },
  JSON: { tool: own, text: '{ "r": 8, "alpha": 16, "optimizer": { "name": "adamw", "lr": 2e-4 } }' },
  "flags of a trainer": {
    tool: "peft-trainer",
    text: "--r 16 --lora_alpha 32 --learning_rate 2e-4 --weight_decay 0.01 --lr_scheduler_type cosine --max_steps 500",
  },
  "adapter_config.json": {
    tool: "peft",
    text: '{ "r": 16, "lora_alpha": 32, "use_rslora": true, "lr": 1e-4 }',
  },
  "MLX-LM's YAML": {
    tool: "mlx-lm",
    text: "learning_rate: 1e-5\nlora_parameters:\n  rank: 8\n  scale: 20.0\n",
  },
};

const text = find<HTMLTextAreaElement>("text");
const tool = find<HTMLSelectElement>("tool");
const example = find<HTMLSelectElement>("example");
const library = find<HTMLSelectElement>("library");
const other = find<HTMLSelectElement>("other");
const titled = (names: readonly gauge.LibraryName[]) =>
  names.map((name) => new Option(gauge.libraries[name].title, name));

tool.replaceChildren(new Option(own), ...titled(libraries));
example.replaceChildren(...Object.keys(examples).map((name) => new Option(name)));
library.replaceChildren(...titled(libraries));
other.replaceChildren(...titled(libraries));

/** How often a recipe was read: what was asked for last is shown. */
let reads = 0;

async function show(): Promise<void> {
  const message = find("message");
  message.hidden = true;
  const read = ++reads;
  const address = new URLSearchParams({ tool: tool.value, text: text.value, library: library.value });
  history.replaceState(null, "", `#${address}`);
  try {
    const recipe = await gauge.recipeOfText(
      tool.value === own ? text.value : `${tool.value}:\n${text.value}`,
      "The recipe",
    );
    if (read === reads) tell(recipe);
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    const ways = await remedies(words);
    if (read !== reads) return;
    message.replaceChildren(words, ...ways.flatMap((each) => [" ", each]));
    message.hidden = false;
    for (const id of ["words", "settings"]) find(id).replaceChildren();
    find("invariants").querySelector("tbody")!.replaceChildren();
  }
}

/** What a reader may want to do about an error, as buttons. */
async function remedies(words: string): Promise<HTMLButtonElement[]> {
  const change = (to: { readonly tool?: string; readonly text?: string }) => () => {
    tool.value = to.tool ?? tool.value;
    text.value = to.text ?? text.value;
    void show();
  };
  if (tool.value === own)
    return (await gauge.toolsOfText(text.value)).map((name) =>
      button(`Read it as ${gauge.libraries[name].title}`, change({ tool: name })),
    );
  // The configuration of an adapter says no rate.
  if (!/\blr is missing/.test(words) || !text.value.trim().startsWith("{")) return [];
  const rated = text.value.replace("{", '{ "lr": 2e-4,');
  return [button("Add a learning rate", change({ text: rated }))];
}

function tell(recipe: gauge.Recipe): void {
  const rows = gauge.canonical(recipe).invariants.map(({ name, formula, value }) => {
    const row = document.createElement("tr");
    const number = [value]
      .flat()
      .map((each) => String(Number(each.toPrecision(10))))
      .join(", ");
    row.append(
      ...[name, formula, number].map((words) =>
        Object.assign(document.createElement("td"), { textContent: words }),
      ),
    );
    return row;
  });
  find("invariants")
    .querySelector("tbody")!
    .replaceChildren(...rows);
  const { words } = gauge.explain(gauge.named(other.value as gauge.LibraryName).recipe, recipe);
  list(
    "words",
    words.map((sentence) => sentence.replaceAll(/\bX\b/g, "the other").replaceAll(/\bY\b/g, "this one")),
  );
  find("settings").textContent = inLibrary(library.value as gauge.LibraryName, recipe);
}

function list(id: string, sentences: readonly string[]): void {
  find(id).replaceChildren(
    ...sentences.map((sentence) => Object.assign(document.createElement("li"), { textContent: sentence })),
  );
}

/** Reports of adapters are looked at one after the other. */
let device: Promise<unknown> | undefined;

async function lint(files: readonly File[]): Promise<void> {
  const words = find("lint-words");
  words.textContent = "Reading…";
  find("lint").hidden = true;
  list("readers", []);
  try {
    device ??= init({ backend: "cpu" });
    await device;
    const [only] = files;
    const folder = files.some(({ name }) => name.endsWith(".json"));
    const report = await adapters.lint(
      await adapters.open(folder || files.length > 1 ? await openFolder(files) : only!),
    );
    const rows = report.modules.map(({ path, r, alpha, multiplier, change }) => {
      const row = document.createElement("tr");
      row.append(
        ...[path, r, short(alpha), short(multiplier), short(change)].map((cell) =>
          Object.assign(document.createElement("td"), { textContent: String(cell) }),
        ),
      );
      return row;
    });
    find("lint")
      .querySelector("tbody")!
      .replaceChildren(...rows);
    find("lint").hidden = false;
    words.textContent = `An adapter of ${report.format}, ${report.modules.length} modules. ${report.notes.join(". ")}`;
    list(
      "readers",
      report.consumers.map(({ consumer, says, factors, known }) => {
        const differing = Object.entries(factors);
        const reading = !known
          ? "not known"
          : differing.length === 0
            ? "reads it as it is"
            : `reads ${differing.length} modules differently, by factors such as ${short(differing[0]![1])} at ${differing[0]![0]}`;
        return `${consumer}: ${reading}. ${says}`;
      }),
    );
  } catch (error) {
    words.textContent = error instanceof Error ? error.message : String(error);
  }
}

text.addEventListener("input", () => void show());
for (const control of [tool, library, other]) control.addEventListener("change", () => void show());
example.addEventListener("change", () => {
  const chosen = examples[example.value]!;
  [tool.value, text.value] = [chosen.tool, chosen.text];
  void show();
});
find<HTMLInputElement>("files").addEventListener("change", ({ target }) => {
  const { files } = target as HTMLInputElement; // the element that listens
  if (files && files.length > 0) void lint([...files]);
});
find("copy").addEventListener("click", () => copy(find("settings").textContent ?? "", find("copied")));

const given = new URLSearchParams(location.hash.slice(1));
const first = examples["key=value"]!;
text.value = given.get("text") ?? first.text;
tool.value = given.get("tool") ?? first.tool;
if (tool.selectedIndex < 0) tool.value = own;
library.value = given.get("library") ?? "peft";
if (library.selectedIndex < 0) library.value = "peft";
void show();
