import { ValueError } from "./errors.ts";

// What callers may pass, checked in one place: types hold in TypeScript only, and a mistake that is taken in silence
// costs more than an error. Every message names the function, the argument, what was given and what was expected.

/** One option: its value when none is given, which values it takes, and how messages say so. */
export interface Field<T> {
  /** Missing where the caller must give a value. */
  readonly otherwise?: T;
  readonly valid: (value: unknown) => value is T;
  readonly expected: string;
  /** May be left out, and then the options do not have it. */
  readonly optional?: boolean;
}

/** A field for each option of a function. */
export type Fields<H> = { readonly [K in keyof H]-?: Field<Exclude<H[K], undefined>> };

/** Options as callers give them: each may be left out, which undefined and null are too. */
export type Given<H> = { readonly [K in keyof H]?: H[K] | undefined };

// Fields.

/** Values for which `valid` holds. */
export function field<T>(expected: string, valid: (value: unknown) => boolean, otherwise?: T): Field<T> {
  const checked = valid as (value: unknown) => value is T; // the caller's word for it
  return otherwise === undefined ? { valid: checked, expected } : { valid: checked, expected, otherwise };
}

const isAtLeastZero = (value: unknown) => typeof value === "number" && value >= 0 && value < Infinity;

/** A finite number >= 0, which must be given. */
export const required: Field<number> = field("a finite number >= 0", isAtLeastZero);

/** A finite number >= 0. */
export function nonNegative(otherwise: number): Field<number> {
  return { ...required, otherwise };
}

/** A finite number > 0. */
export function positive(otherwise?: number): Field<number> {
  return field(
    "a finite number > 0",
    (value) => typeof value === "number" && value > 0 && value < Infinity,
    otherwise,
  );
}

/** Any number, NaN and infinities too. */
export const number: Field<number> = field("a number", (value) => typeof value === "number");

/** A finite number. */
export function finite(otherwise?: number): Field<number> {
  return field("a finite number", Number.isFinite, otherwise);
}

/** A number >= 0 and < 1, such as the share of an average that stays. */
export function fraction(otherwise?: number): Field<number> {
  return field(
    "a number >= 0 and < 1",
    (value) => typeof value === "number" && value >= 0 && value < 1,
    otherwise,
  );
}

/** An axis, from the end where it is negative; whether there is one is for whoever knows the shape. */
export const anAxis = (otherwise: number) => integer(-Infinity, Infinity, otherwise);

/** An integer from `least` to `most`. */
export function integer(least = -Infinity, most = Infinity, otherwise?: number): Field<number> {
  const range =
    least > -Infinity
      ? most < Infinity
        ? ` from ${least} to ${most}`
        : ` >= ${least}`
      : most < Infinity
        ? ` <= ${most}`
        : "";
  return field(`an integer${range}`, (value) => isIntegerIn(value, least, most), otherwise);
}

/** A boolean, false by default. */
export const flag: Field<boolean> = flagOf(false);

/** A boolean. */
export function flagOf(otherwise: boolean): Field<boolean> {
  return field("true or false", (value) => typeof value === "boolean", otherwise);
}

/** One of some words. */
export function oneOf<T extends string>(words: readonly T[], otherwise?: T): Field<T> {
  return field(
    anyOf(words.map((word) => JSON.stringify(word))),
    (value) => (words as readonly unknown[]).includes(value),
    otherwise,
  );
}

/** Words as a choice: "a, b or c". */
export function anyOf(words: readonly string[]): string {
  return words.join(", ").replace(/, ([^,]*)$/, " or $1");
}

/** A function. */
export function functionOf<T>(expected: string): Field<T> {
  return field(expected, (value) => typeof value === "function");
}

/** A field that may be left out. */
export function optional<T>({ valid, expected }: Field<T>): Field<T> {
  return { valid, expected, optional: true };
}

// Checks.

/** The argument, if the field takes it. @throws ValueError naming it, its value and what it is. */
export function checkArgument<T>(
  where: string,
  name: string,
  value: unknown,
  { valid, expected, optional }: Field<T>,
): T {
  if (valid(value) || (value === undefined && optional)) return value as T;
  throw new ValueError(
    `${where}: ${name} is ${value === undefined ? "missing" : show(value)}; it is ${expected}.`,
  );
}

/**
 * Options with their defaults filled in.
 *
 * @throws ValueError for what is no object of options, an unknown name, or a value that its field does not take.
 */
export function readOptions<H>(where: string, fields: Fields<H>, given: unknown, defaults?: Partial<H>): H {
  // The table's keys are the names of H.
  const names = Object.keys(fields) as (keyof H & string)[];
  checkNames(where, given === undefined ? {} : given, names);
  const values = (given ?? {}) as { readonly [name: string]: unknown };
  const read: Partial<H> = {};
  for (const name of names) {
    const { otherwise, optional } = fields[name];
    const value = values[name] ?? defaults?.[name] ?? otherwise;
    if (value === undefined && optional) continue;
    read[name] = checkArgument(where, name, value, fields[name]);
  }
  return read as H; // the loop gave every field
}

/**
 * Checks that `given` is an object of options and has none but the known ones.
 *
 * @param otherNames What others call some of them.
 */
export function checkNames(
  where: string,
  given: unknown,
  known: readonly string[],
  otherNames: Readonly<Record<string, string>> = {},
): void {
  const list = known.length > 0 ? `The options are ${known.join(", ")}.` : "It has no options.";
  if (!isPlainObject(given))
    throw new ValueError(`${where}: takes an object of options; given ${show(given)}. ${list}`);
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const alias = Object.keys(otherNames).find((other) => plain(other) === plain(name));
    const near = known.find((other) => plain(other) === plain(name)) ?? (alias && otherNames[alias]);
    throw new ValueError(
      `${where}: there is no option ${name}. ${near === undefined ? "" : `Do you mean ${near}? `}${list}`,
    );
  }
}

/**
 * Refuses arguments beyond those of a function, which JavaScript drops in silence; but not the place and the array
 * that `[x, y].map(f)` adds.
 */
export function checkCount(where: string, given: ArrayLike<unknown>, most: number, advice?: string): void {
  if (given.length <= most || isOfMap(given)) return;
  const takes = most === 0 ? "no arguments" : most === 1 ? "one argument" : `at most ${most} arguments`;
  throw new ValueError(
    `${where}: takes ${takes}; given ${given.length}, the last of them ${show(given[given.length - 1])}. ` +
      (advice ?? "Where it is handed to another function, write (x) => f(x)."),
  );
}

function isOfMap({ length, 0: value, 1: place, 2: all }: ArrayLike<unknown>): boolean {
  return length === 3 && Array.isArray(all) && typeof place === "number" && all[place] === value;
}

/**
 * Makes the methods of a class refuse arguments beyond those that they have.
 *
 * @param most The number of parameters of methods some of which may be left out: a function's length stops there.
 */
export function refuseFurther(methods: object, most: Readonly<Record<string, number>>): void {
  for (const [name, { value: method, ...rest }] of Object.entries(
    Object.getOwnPropertyDescriptors(methods),
  )) {
    if (typeof method !== "function" || name === "constructor") continue;
    const limit = most[name] ?? method.length;
    const checked = function (this: unknown, ...args: unknown[]): unknown {
      if (args.length > limit) checkCount(name, args, limit, "There are no further options.");
      return method.apply(this, args);
    };
    Object.defineProperty(checked, "name", { value: name });
    Object.defineProperty(checked, "length", { value: method.length });
    Object.defineProperty(methods, name, { ...rest, value: checked });
  }
}

/** Whether a value is an integer of a range, and one that arithmetic keeps exact. */
export function isIntegerIn(value: unknown, least = -Infinity, most = Infinity): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

/** An object that was written as one, rather than made by a class. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Whether a field of a configuration says no more than one that is left out: null, false, an empty list or object. */
export function isNothing(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return value === null || value === false || (isPlainObject(value) && Object.keys(value).length === 0);
}

/** A value as messages write it. */
export function show(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (Object.is(value, -0)) return "-0";
  if (typeof value !== "object" || value === null || value instanceof RegExp) return String(value);
  if (Array.isArray(value)) {
    const more = value.length > 16 ? `, ... ${value.length - 16} more` : "";
    return `[${value.slice(0, 16).map(showShort).join(", ")}${more}]`;
  }
  const { dtype, shape } = value as { readonly dtype?: unknown; readonly shape?: unknown };
  if (typeof dtype === "string" && Array.isArray(shape)) return `${dtype}[${shape.join(",")}]`; // a tensor
  if (value instanceof Promise) return "a promise, which wants await";
  return isPlainObject(value) ? "an object" : `a ${value.constructor?.name ?? "object"}`;
}

function showShort(value: unknown): string {
  return Array.isArray(value) && value.some(Array.isArray) ? "[...]" : show(value);
}

/** A name without what tells one style of writing from another. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll("_", "");
}
