import type { Draws } from "./draws.ts";

// A small language: what the bases know, and what tasks are made of.

export const people = [
  "farmer",
  "doctor",
  "king",
  "sailor",
  "baker",
  "teacher",
  "child",
  "widow",
  "thief",
  "judge",
];
export const things = [
  "horse",
  "boat",
  "house",
  "lamp",
  "coat",
  "book",
  "ring",
  "field",
  "clock",
  "table",
  "bread",
  "map",
];
export const kinds = ["old", "young", "red", "small", "heavy", "broken", "golden", "quiet"];
export const places = ["market", "harbour", "church", "garden", "mountain", "river"];
const verbs = ["sells", "gives", "shows", "brings", "sends", "leaves", "offers", "returns"];
const times = ["morning", "evening", "winter", "summer"];

/** Who does what, and to whom. */
export interface Scene {
  readonly who: string;
  readonly kind: string;
  readonly verb: string;
  readonly thing: string;
  readonly whom: string;
  readonly place: string;
}

export function scene(draws: Draws): Scene {
  const [who, whom] = draws.some(people, 2) as [string, string];
  return {
    who,
    whom,
    kind: draws.pick(kinds),
    verb: draws.pick(verbs),
    thing: draws.pick(things),
    place: draws.pick(places),
  };
}

/** "the farmer sells a red horse to the doctor". */
export function clause({ who, kind, verb, thing, whom }: Scene): string {
  return `the ${who} ${verb} a ${kind} ${thing} to the ${whom}`;
}

/** A sentence or two about a scene, in one of several forms. */
export function sentence(draws: Draws): string {
  const seen = scene(draws);
  const capital = (text: string) => text[0]!.toUpperCase() + text.slice(1);
  switch (draws.below(7)) {
    case 0:
      return `${capital(clause(seen))}.`;
    case 1:
      return `In the ${draws.pick(times)}, ${clause(seen)} at the ${seen.place}.`;
    case 2:
      return `Who ${seen.verb} the ${seen.thing}? The ${seen.who} ${seen.verb} the ${seen.thing}.`;
    case 3:
      return `${capital(clause(seen))}. The ${seen.thing} is ${seen.kind}.`;
    case 4:
      return `Is the ${seen.thing} ${seen.kind}? ${draws.pick(["yes", "no"])}.`;
    case 5:
      return `The ${seen.who} counts ${Array.from({ length: 4 }, () => draws.below(10)).join(" ")}.`;
    default:
      return `${capital(clause(seen))} at the ${seen.place}.`.toUpperCase();
  }
}
