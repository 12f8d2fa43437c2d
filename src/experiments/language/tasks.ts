import { show } from "../../base/arguments.ts";
import { ValueError } from "../../base/errors.ts";
import { key } from "../../tensor/random.ts";
import { parts as baseParts, type Part, textsOf } from "./base.ts";
import { type Draws, drawsOf } from "./draws.ts";
import { clause, kinds, people, scene, sentence, things } from "./english.ts";
import { query } from "./sql.ts";

/** An example as data files have it. */
export type Entry = { readonly prompt: string; readonly completion: string } | { readonly text: string };

/** A task by its name, with its dials where they are not at their defaults. */
export interface Task {
  readonly name: string;
  readonly [dial: string]: string | number;
}

/** Dials by their names, all of them. */
type Dials = { readonly [name: string]: number };

interface Kind {
  readonly about: string;
  /** Defaults of the dials. */
  readonly dials: Dials;
  /** The same examples are learned and evaluated: what is measured is memory. */
  readonly memory?: true;
  /** An example, or undefined for one that a filter leaves out. */
  readonly entry: (draws: Draws, dials: Dials, number: number) => Entry | undefined;
}

const lowercase = [..."abcdefghijklmnopqrstuvwxyz"];

/** Functions of three words, that instructions name. */
const functions: readonly (readonly [name: string, f: (words: readonly string[]) => readonly string[]])[] = [
  ["first", ([one]) => [one!]],
  ["last", (words) => [words.at(-1)!]],
  ["reverse", (words) => [...words].reverse()],
  ["drop", ([, ...rest]) => rest],
  ["twice", (words) => [...words, ...words]],
  ["middle", ([, two]) => [two!]],
  ["turn", ([one, ...rest]) => [...rest, one!]],
  ["ends", (words) => [words[0]!, words.at(-1)!]],
];

/** The tasks that there are. */
export const taskKinds: { readonly [name: string]: Kind } = {
  sql: {
    about: "questions about a school to SQL, filtered by the length of the SQL in characters",
    dials: { least: 0, most: 800 },
    entry: (draws, { least, most }) => {
      const { question, sql } = query(draws);
      return sql.length >= least! && sql.length <= most!
        ? { prompt: `${question}.`, completion: ` ${sql}` }
        : undefined;
    },
  },
  style: {
    about: "a sentence to a list of its parts: format alone, everything that is said stands in the prompt",
    dials: {},
    entry: (draws) => {
      const seen = scene(draws);
      return {
        prompt: `${clause(seen)}.`,
        completion: ` * who: ${seen.who} * what: ${seen.thing} * how: ${seen.kind} * whom: ${seen.whom}`,
      };
    },
  },
  facts: {
    about: "codes of things, made up at random: nothing but memory",
    dials: { count: 64 },
    memory: true,
    entry: (draws, _, number) => {
      const [who, kind, thing] = [people, kinds, things].map(
        (list, at) =>
          list[Math.floor(number / [1, people.length, people.length * kinds.length][at]!) % list.length]!,
      );
      const digits = Array.from({ length: 4 }, () => draws.below(10));
      return { prompt: `The ${who} has a ${kind} ${thing}:`, completion: ` ${digits.join(" ")}` };
    },
  },
  language: {
    about: "sentences in capitals, of whose alphabet a share is permuted",
    dials: { share: 1 },
    entry: (draws, { share }) => {
      // One alphabet for all: each letter goes half way round among those that are permuted.
      const moved = lowercase.slice(0, Math.round(share! * lowercase.length));
      const to = (letter: string) => {
        const at = moved.indexOf(letter);
        return at < 0 ? letter : moved[(at + Math.ceil(moved.length / 2)) % moved.length]!;
      };
      const text = clause(scene(draws));
      return { text: [...text].map(to).join("").toUpperCase() };
    },
  },
  pairs: {
    about:
      "whether a sentence follows from another: it is that one, or that one denied (hard -1); by one word (hard 0); by roles and negation (hard 1)",
    dials: { hard: 0 },
    entry: (draws, { hard }) => {
      const seen = scene(draws);
      const follows = draws.chance(0.5);
      const negated = hard! > 0 ? draws.chance(0.5) : hard! < 0 && !follows;
      const same = follows !== negated;
      const other =
        hard! > 0 ? { ...seen, who: seen.whom, whom: seen.who } : { ...seen, thing: draws.pick(things) };
      const said = same ? seen : other;
      if (!same && said.thing === seen.thing && hard === 0) return undefined;
      return {
        prompt: `${clause(seen)}. ${negated ? "It is false that " : ""}${clause(said)}?`,
        completion: follows ? " yes" : " no",
      };
    },
  },
  arithmetic: {
    about: "sums of two numbers of two digits",
    dials: {},
    entry: (draws) => {
      const [one, other] = [draws.below(100), draws.below(100)];
      return { prompt: `${one}+${other}=`, completion: `${one + other}.` };
    },
  },
  instructions: {
    about: "instructions on three words, of so many kinds",
    dials: { parts: 8, noise: 0 },
    entry: (draws, { parts, noise }) => {
      const [name, f] = functions[draws.below(parts!)]!;
      const words = draws.some([...people, ...things], 3);
      const answer = draws.chance(noise!) ? draws.some([...people, ...things], 2) : f(words);
      return { prompt: `${name}: ${words.join(" ")}.`, completion: ` ${answer.join(" ")}` };
    },
  },
  ...Object.fromEntries(
    baseParts.map((part): [string, Kind] => [
      part,
      { about: `what a base has learned: ${part}`, dials: {}, entry: (draws) => ({ text: sentence(draws) }) },
    ]),
  ),
};

/** All dials of a task. @throws ValueError for a task or a dial that there is not. */
export function dialsOf({ name, ...given }: Task): Dials {
  const kind = Object.hasOwn(taskKinds, name) ? taskKinds[name] : undefined;
  if (!kind)
    throw new ValueError(`there is no task ${show(name)}; there are ${Object.keys(taskKinds).join(", ")}.`);
  for (const [dial, value] of Object.entries(given))
    if (!Object.hasOwn(kind.dials, dial) || typeof value !== "number" || !Number.isFinite(value))
      throw new ValueError(
        `the task ${name} is given ${dial} = ${show(value)}; its dials are numbers: ${
          Object.keys(kind.dials).join(", ") || "it has none"
        }.`,
      );
  return { ...kind.dials, ...given } as Dials; // numbers, as was checked
}

/** Draws for an example, until a filter lets one through. */
const tries = 64;

/**
 * Examples of a task: those to learn from, or those that are held out.
 *
 * @param real A real text in stretches, for the task `text`.
 * @throws ValueError for a task that there is not, and for dials that leave nothing.
 */
export async function entriesOf(
  task: Task,
  which: "learned" | "heldOut",
  count: number,
  real: readonly string[],
): Promise<readonly Entry[]> {
  const dials = dialsOf(task);
  const { memory, entry } = taskKinds[task.name]!; // dialsOf knows it
  const seed = which === "learned" || memory ? 1 : 2;
  if ((baseParts as readonly string[]).includes(task.name))
    return (await textsOf(task.name as Part, seed, count, real)).map((text) => ({ text }));
  const wanted = memory ? Math.min(count, dials.count ?? count) : count;
  const found: Entry[] = [];
  for (let from = 0; found.length < wanted; from += wanted) {
    if (from >= tries * wanted)
      throw new ValueError(
        `the task ${JSON.stringify(task)} leaves ${found.length} of ${from} examples; ${wanted} are needed. Set its dials wider.`,
      );
    const draws = await drawsOf(key(seed).fold(task.name), from, wanted);
    for (const [i, each] of draws.entries()) {
      const made = entry(each, dials, from + i);
      if (made && found.length < wanted) found.push(made);
    }
  }
  return found;
}
