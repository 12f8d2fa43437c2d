import { type LeafAt, nameOf, typeOf } from "./trace.ts";

// Each form of the arguments of a compiled function is a trace, a plan, and code. Many of them are seldom meant.

/** The forms of the tensors and numbers of a call, by their names. */
export type Form = ReadonlyMap<string, string>;

export function formOf(leaves: readonly LeafAt[]): Form {
  return new Map(leaves.map((at) => [nameOf(at), typeOf(at.leaf)]));
}

/** What to say of a function that was traced for so many forms, or nothing where they are all alike. */
export function retraced(name: string, forms: readonly Form[]): string | undefined {
  const names = new Set(forms.flatMap((form) => [...form.keys()]));
  const changing = [...names].flatMap((name) => {
    const own = [...new Set(forms.map((form) => form.get(name) ?? "nothing"))];
    return own.length > 1 ? [`argument ${name} (${some(own, 4)})`] : [];
  });
  if (changing.length === 0) return undefined;
  return `compile: ${name || "a function"} was traced for ${forms.length} forms of its arguments, and each is planned and compiled anew. What changes from call to call is ${some(changing, 3)}. Pad it to a few shapes, or expect more: compile(f, { expectedTraces: ${2 * forms.length} }).`;
}

function some(list: readonly string[], most: number): string {
  return `${list.slice(0, most).join(", ")}${list.length > most ? ` and ${list.length - most} more` : ""}`;
}
