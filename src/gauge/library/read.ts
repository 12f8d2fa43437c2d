import { checkArgument, isPlainObject, show } from "../../base/arguments.ts";
import { ValueError } from "../../base/errors.ts";
import type { Role } from "../../lora/roles.ts";
import { checkRecipe } from "../check.ts";
import type { Recipe } from "../recipe.ts";
import type { Library, Meaning, Setting, TheirOptimizer } from "./library.ts";
import { flatten, type Settings } from "./places.ts";
import { libraries } from "./tools.ts";

/** The names of roles in settings of groups. */
export const groupNames: { readonly [R in Role]?: string } = {
  A: "lora_A",
  B: "lora_B",
  branchBias: "lora_B_bias",
  magnitude: "lora_magnitude_vector",
};

/**
 * The recipe that a library runs with some settings: what is not set is what the library's defaults are.
 *
 * @throws ValueError naming the setting, its value and what to do: for unknown settings, those of other versions,
 *   values that it does not take, those that no recipe can say, and what has no default.
 */
export function readSettings(library: Library, given: unknown, operation: string): Recipe {
  if (!isPlainObject(given))
    throw new ValueError(
      `${operation}: the settings of ${library.title} are ${show(given)}; they are an object.`,
    );
  const values = flattened(library, given, operation);
  checkPlaces(library, values, operation);
  const settingOf = (is: Meaning): [string, Setting] | undefined =>
    Object.entries(library.settings).find(([, setting]) => setting.is === is);
  const at = (place: string, setting: Setting): unknown => {
    const given = values.get(place);
    const value = given === null && "nullIs" in setting ? setting.nullIs : given;
    if (
      (value === undefined || value === null) &&
      (setting.field.optional || setting.field.otherwise !== undefined)
    )
      return setting.field.otherwise;
    checkText(operation, place, value, setting);
    const checked = checkArgument(operation, place, value, setting.field);
    if (!setting.words) return checked;
    if (Object.hasOwn(setting.words, String(checked))) return checked;
    throw new ValueError(
      `${operation}: ${place} is ${show(checked)}, which a recipe cannot say; it can where it is ${Object.keys(setting.words).join(", ")}.`,
    );
  };
  const of = (is: Meaning): unknown => {
    const found = settingOf(is);
    if (!found) return undefined;
    const [place, setting] = found;
    const value = at(place, setting);
    return setting.words ? setting.words[String(value)] : value;
  };

  const r = of("r") as number; // its field is an integer
  const scale = of("scale") as number | undefined;
  const alpha = (of("alpha") as number | undefined) ?? (scale === undefined ? undefined : scale * r);
  const initStd = of("initStd") as number | undefined;
  const found = settingOf("optimizer");
  const name = found ? String(at(found[0], found[1])) : Object.keys(library.optimizers)[0]!;
  const spelt = library.anyCase
    ? Object.keys(library.optimizers).find(
        (each) => each.toLowerCase() === name.toLowerCase().replace(/^torch\.optim\./, ""),
      )
    : name;
  const theirs =
    spelt !== undefined && Object.hasOwn(library.optimizers, spelt) ? library.optimizers[spelt] : undefined;
  if (!theirs)
    throw new ValueError(
      `${operation}: ${found?.[0]} is ${show(name)}, which a recipe cannot say; it can where it is ${Object.keys(library.optimizers).join(", ")}.`,
    );
  checkArguments(library, theirs, name, values, operation);
  const { hyper, groups } = hypersOf(library, theirs, values, at, operation);
  const ratio = of("ratio") as number | undefined;
  const branchBias = of("branchBias") === true;
  const dora = of("dora") === true;
  const scaled: Role[] = [
    "B",
    ...(branchBias ? ["branchBias" as const] : []),
    ...(dora ? ["magnitude" as const] : []),
  ];
  if (ratio !== undefined && ratio !== 1)
    for (const role of scaled) groups[role] = { ...groups[role], lr: (hyper.lr as number) * ratio };
  for (const role of library.noDecay ?? []) {
    if (role === "branchBias" && !branchBias) continue;
    if (hyper.weightDecay !== undefined && hyper.weightDecay !== 0)
      groups[role] = { ...groups[role], weightDecay: 0 };
  }
  const total = of("epochs") === undefined ? of("total") : undefined;
  const warmup = (): unknown => {
    const steps = of("warmup");
    if (typeof steps !== "number") return steps;
    const { rounds = "ceil", below1, unlessGiven, most, instead, notConstant } = library.warmup ?? {};
    const [[place], [sharePlace = ""] = []] = [settingOf("warmup")!, settingOf("warmupShare")];
    const given = (at: string) => (values.get(at) ?? null) !== null;
    if (of("schedule") === "constant") {
      if (!notConstant || steps === 0) return steps;
      throw new ValueError(
        `${operation}: ${place} is ${steps} and ${settingOf("schedule")![0]} is constant; ${library.title} takes no warm-up before a constant rate. Leave it out, or give the schedule constant_with_warmup.`,
      );
    }
    const share = of("warmupShare");
    if (steps > 0 && typeof share === "number" && share > 0 && given(sharePlace))
      throw new ValueError(
        `${operation}: ${place} is ${steps} and ${sharePlace} is ${share}; each sets the warm-up, and it depends on the version which one acts, or whether both are taken. Give one.`,
      );
    const isShare = below1 === true && steps > 0 && steps < 1;
    const acts = steps === 0 && !(unlessGiven && given(place));
    const part = isShare ? steps : acts ? (share ?? 0) : 0;
    // Updates are whole ones: tools cut the rest off.
    if (typeof part !== "number" || part === 0) return instead?.[steps] ?? Math.trunc(steps);
    if (typeof total === "number" && total > 0) {
      const updates = Math[rounds](total * part);
      const bounded = isShare || given(sharePlace) ? updates : Math.min(updates, most ?? Infinity);
      return instead?.[bounded] ?? bounded;
    }
    throw new ValueError(
      `${operation}: ${isShare ? place : sharePlace} is ${part}, a share of all updates, whose number is not known. Give ${settingOf("total")![0]}, or ${place} as a whole number${isShare ? "" : " in its place"}.`,
    );
  };
  const recipe = {
    r,
    alpha: alpha === 0 ? r : alpha, // kohya: 0 is the rank
    rsLora: of("rsLora"),
    dropout: of("dropout"),
    init: of("init"),
    dora: dora || undefined,
    branchBias: branchBias || undefined,
    ...library.fixed,
    ...(initStd !== undefined && { init: "gaussian", initScale: { A: initStd * r } }),
    optimizer: { name: theirs.is, ...hyper },
    groups: Object.keys(groups).length > 0 ? groups : undefined,
    schedule: scheduleOf(of("schedule") ?? library.schedule, warmup(), total),
    clip: clipOf(of("maxNorm")),
    eightBitStates: theirs.eightBitStates,
  };
  for (const [place, { value, otherwise }] of Object.entries(library.needs ?? {}))
    if ((values.get(place) ?? null) === null)
      throw new ValueError(
        `${operation}: ${place} is missing: without it ${otherwise}. Give ${place} ${String(value)}.`,
      );
  const there = Object.fromEntries(Object.entries(recipe).filter(([, value]) => value !== undefined));
  return named(places(library, theirs), () => checkRecipe(there, operation));
}

function flattened({ pairs = {} }: Library, given: Settings, operation: string): Map<string, unknown> {
  try {
    return flatten(given, pairs);
  } catch (error) {
    throw error instanceof ValueError ? new ValueError(`${operation}: ${error.message}`) : error;
  }
}

/** Where a library sets the fields of a recipe, where it calls them otherwise. */
function places({ settings }: Library, theirs: TheirOptimizer): ReadonlyMap<string, readonly string[]> {
  const all = new Map<string, string[]>();
  const put = (field: string, place: string) =>
    field !== place && all.set(field, [...(all.get(field) ?? []), place]);
  for (const [place, { is }] of Object.entries(settings))
    if (is !== "hyper" && is !== "optimizer") put(is, place);
  for (const [field, place] of Object.entries(theirs.places)) put(field.split(".")[0]!, place);
  for (const [role, name] of Object.entries(groupNames)) put(`groups.${role}`, name);
  return all;
}

/** An error about the recipe, with the settings that its fields are. */
function named<T>(places: ReadonlyMap<string, readonly string[]>, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    const fields = [...places].filter(([field]) => new RegExp(`\\b${field}\\b`).test(error.message));
    const words = fields.map(([field, at]) => `${field} is ${at.join(" and ")}`);
    throw words.length > 0
      ? new ValueError(`${error.message} In these settings ${words.join(", ")}.`)
      : error;
  }
}

/** Refuses a number or a flag that is written as a text: what a tool makes of it depends on the tool and its version. */
function checkText(operation: string, place: string, value: unknown, { field }: Setting): void {
  const taken: boolean = field.valid(value);
  if (typeof value !== "string" || taken) return;
  const meant = /^true$/i.test(value) ? true : /^false$/i.test(value) ? false : Number(value);
  if (value.trim() === "" || !field.valid(meant)) return;
  throw new ValueError(
    `${operation}: ${place} is ${show(value)}, a text; it is ${field.expected}. Write ${String(meant)}, without quotes.`,
  );
}

/** Refuses what is unknown, or of another version. */
function checkPlaces(library: Library, values: ReadonlyMap<string, unknown>, operation: string): void {
  const { settings, refused, others, only = {}, optimizers, pairs = {}, written } = library;
  const places = new Set([
    ...Object.keys(settings),
    ...Object.values(optimizers).flatMap(({ places }) => Object.values(places)),
  ]);
  const groups = library.groups === "any" ? Object.values(groupNames) : [];
  for (const [place, value] of values) {
    if (value === undefined || value === null) continue;
    if (place === written?.at) {
      checkVersion(library, value, operation);
      continue;
    }
    if (Object.hasOwn(refused, place))
      throw new ValueError(`${operation}: ${place} is ${show(value)}: ${refused[place]}`);
    if (places.has(place)) continue;
    const [group, ...rest] = place.split(".");
    if (groups.includes(group!) && places.has(rest.join("."))) continue;
    const top = place.split(/[.:]/)[0]!;
    const limited = [place, top].find((each) => Object.hasOwn(only, each));
    if (limited !== undefined) {
      const known = only[limited]!;
      if (known.includes(value) || (Array.isArray(value) && value.length === 0)) continue;
      const able = known.length > 0 ? `it can where it is ${known.map(show).join(" or ")}` : "leave it out";
      throw new ValueError(`${operation}: ${place} is ${show(value)}, which a recipe cannot say; ${able}.`);
    }
    if (
      others.some((other) =>
        other.endsWith("*") ? top.startsWith(other.slice(0, -1)) : top === other || place === other,
      )
    )
      continue;
    const pair = Object.keys(pairs).find((each) => place.startsWith(`${each}:`));
    const known = [...places].filter((each) => (pair ? each.startsWith(`${pair}:`) : !each.includes(":")));
    const near = known.find((each) => plain(each) === plain(place)) ?? sameElsewhere(library, place);
    throw new ValueError(
      `${operation}: ${library.title} ${library.version} has no setting ${place}${pair ? "" : " that concerns a recipe"}. ${near ? `Do you mean ${near}? ` : ""}Those that do are ${known.join(", ")}. Leave it out, or correct its name.`,
    );
  }
}

/** Refuses arguments of another optimizer among those of the one that is chosen, whose class would not take them. */
function checkArguments(
  { settings, optimizers }: Library,
  { places }: TheirOptimizer,
  name: string,
  values: ReadonlyMap<string, unknown>,
  operation: string,
): void {
  const own = Object.values(places);
  const others = new Set(Object.values(optimizers).flatMap((each) => Object.values(each.places)));
  const parent = (place: string) => place.slice(0, Math.max(0, place.search(/[.:][^.:]*$/)));
  const parents = new Set(own.map(parent));
  for (const [at, value] of values) {
    const [group, ...rest] = at.split(".");
    const place = Object.values(groupNames).includes(group!) ? rest.join(".") : at;
    if (value === undefined || value === null || own.includes(place) || settings[place]) continue;
    if (others.has(place) && parents.has(parent(place)))
      throw new ValueError(
        `${operation}: ${at} is ${show(value)}, which ${name} does not take; it takes ${own.join(", ")}. Leave it out, or choose another optimizer.`,
      );
  }
}

/** The setting of a library that means what another one calls by the name: `lora_r` for Axolotl is `r` for PEFT. */
function sameElsewhere(library: Library, place: string): string | undefined {
  const hypers = ({ optimizers }: Library) =>
    Object.values(optimizers).flatMap(({ places }) => Object.entries(places));
  for (const other of Object.values<Library>(libraries)) {
    const meaning = Object.hasOwn(other.settings, place) ? other.settings[place]!.is : undefined;
    const found =
      meaning !== undefined && meaning !== "hyper"
        ? Object.keys(library.settings).find((each) => library.settings[each]!.is === meaning)
        : hypers(library).find(([own]) =>
            hypers(other).some(([field, at]) => at === place && field === own),
          )?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Refuses settings of versions whose defaults are not known here. */
function checkVersion({ title, version, written }: Library, given: unknown, operation: string): void {
  const numbers = (text: string) => (/(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  const [own, least, most] = [String(given), written!.since, version].map(numbers);
  const before = ([a = 0, b = 0]: number[], [c = 0, d = 0]: number[]) => a < c || (a === c && b < d);
  if (own!.length === 2 && !before(own!, least!) && !before(most!, own!)) return;
  throw new ValueError(
    `${operation}: ${written!.at} is ${show(given)}, and the defaults of ${title} are known here from ${least!.join(".")} to ${most!.join(".")}. Where the settings mean the same there, leave ${written!.at} out.`,
  );
}

function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[_\-.]/g, "");
}

/** The hyperparameters of all, and those of roles. */
function hypersOf(
  library: Library,
  theirs: TheirOptimizer,
  values: ReadonlyMap<string, unknown>,
  at: (place: string, setting: Setting) => unknown,
  operation: string,
) {
  const read = (prefix: string): Record<string, unknown> => {
    const own: Record<string, unknown> = {};
    for (const [field, place] of Object.entries(theirs.places)) {
      const setting = library.settings[place];
      const given = values.get(prefix + place);
      // A group's value, else that of all.
      const needed = setting && (given !== undefined || setting.field.otherwise !== undefined);
      const value = prefix !== "" ? given : needed ? at(place, setting) : (given ?? theirs.defaults?.[place]);
      if (value === undefined || value === null) continue;
      const [name, index] = field.split(".") as [string, string?];
      if (index === undefined) {
        own[name] = value;
        continue;
      }
      const pair = [...((own[name] as unknown[] | undefined) ?? [])];
      pair[Number(index)] = value;
      own[name] = pair;
    }
    return own;
  };
  const hyper = { ...theirs.fixed, ...read("") } as Record<string, unknown>;
  if (hyper.lr === undefined) {
    const first = library.groups === "any" ? values.get(`${groupNames.A}.${theirs.places.lr}`) : undefined;
    if (first === undefined)
      throw new ValueError(
        `${operation}: ${theirs.places.lr} is missing; ${library.title} has no learning rate by default. Give one.`,
      );
    hyper.lr = first;
  }
  const groups: { [R in Role]?: Record<string, unknown> } = {};
  if (library.groups === "any")
    for (const [role, name] of Object.entries(groupNames) as [Role, string][]) {
      const own = read(`${name}.`);
      if (Object.keys(own).length > 0) groups[role] = own;
    }
  return { hyper, groups };
}

function scheduleOf(kind: unknown, warmup: unknown, total: unknown): unknown {
  const rise = typeof warmup === "number" ? warmup : 0;
  const end = typeof total === "number" && total > 0 ? total : "end";
  switch (kind) {
    case undefined:
    case "constant":
      return undefined;
    case "warmupConstant":
      return rise === 0 ? undefined : { kind, warmup: rise };
    default:
      // A run that ends in the warm-up is nothing else.
      return end !== "end" && rise >= end
        ? { kind: "warmupConstant", warmup: rise }
        : { kind, warmup: rise, total: end };
  }
}

function clipOf(maxNorm: unknown): unknown {
  return typeof maxNorm === "number" && maxNorm > 0 ? { kind: "globalNorm", maxNorm } : undefined;
}
