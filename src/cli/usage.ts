import { parseArgs } from "node:util";
import { LorantzError, messageOf, ValueError } from "../base/errors.ts";

/** What was given on the command line, or the file it names, cannot be used: exit code 2. */
export class UsageError extends LorantzError {
  override readonly name = "UsageError";
}

/** What a command throws that is asked for its help: `run` prints it. */
export class HelpAsked extends Error {
  override readonly name = "HelpAsked";
}

/** An option of every command. */
const common: Options = { help: { type: "boolean", short: "h", help: "This text" } };

/** Runs what works on the user's input: a bad value is wrong usage. */
export function asUsage<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (error instanceof ValueError) throw new UsageError(error.message);
    throw error;
  }
}

/** Errors of files and values are the caller's matter. */
export async function usable<T>(f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    if (error instanceof LorantzError && !error.message.startsWith("internal:"))
      throw new UsageError(error.message);
    throw error;
  }
}

/** One option of a command: read by `parseOptions`, printed by `optionsHelp`. */
export interface Option {
  readonly type: "string" | "boolean";
  readonly short?: string;
  /** The placeholder of the value in help texts, `FILE`. */
  readonly value?: string;
  readonly help: string;
  /** Whether help texts leave it out, where another option speaks of it. */
  readonly hidden?: boolean;
}

export type Options = { readonly [name: string]: Option };

export type Values<O extends Options> = {
  readonly [N in keyof O]: (O[N]["type"] extends "boolean" ? boolean : string) | undefined;
};

/** What was given on a command line. */
export interface Arguments<O extends Options> {
  /** Missing options are undefined. */
  readonly values: Values<O>;
  readonly positionals: readonly string[];
}

/**
 * The options and the positional arguments of a command.
 *
 * @throws HelpAsked with --help; UsageError for unknown options and missing values.
 */
export function parseArguments<O extends Options>(
  command: string,
  args: readonly string[],
  options: O,
  help: string,
): Arguments<O> {
  return parse(command, args, options, help, true);
}

/**
 * The values of the options of a command that takes nothing else.
 *
 * @throws HelpAsked with --help; UsageError for unknown options, missing values and positional arguments.
 */
export function parseOptions<O extends Options>(
  command: string,
  args: readonly string[],
  options: O,
  help: string,
): Values<O> {
  return parse(command, args, options, help, false).values;
}

function parse<O extends Options>(
  command: string,
  args: readonly string[],
  own: O,
  help: string,
  allowPositionals: boolean,
): Arguments<O> {
  const options = { ...own, ...common };
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, strict: true, allowPositionals });
    if ((values as Values<Options>).help) throw new HelpAsked(help);
    return { values: values as unknown as Values<O>, positionals }; // values have the types of `options`
  } catch (error) {
    if (error instanceof HelpAsked) throw error;
    const reason = messageOf(error);
    const known = Object.keys(options).map((name) => `--${name}`);
    throw new UsageError(
      `${command}: ${reason.replaceAll("\n", " ").replace(/\.?$/, ".")} Options are ${known.join(", ")}; see lorantz ${command} --help.`,
    );
  }
}

/** One line for each option, aligned, the common ones last. */
export function optionsHelp(options: Options, more: Options = common): string {
  const shown = Object.entries({ ...options, ...more }).filter(([, { hidden }]) => !hidden);
  const rows = shown.map(([name, { short, value, help }]) => ({
    left: `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`,
    help,
  }));
  const width = Math.max(...rows.map(({ left }) => left.length));
  return rows.map(({ left, help }) => `  ${left.padEnd(width)}  ${help}`).join("\n");
}

/** The whole number that an option gives, or the default. */
export function wholeNumber(
  option: string,
  given: string | undefined,
  { min, max, otherwise }: { readonly min: number; readonly max: number; readonly otherwise: number },
): number {
  if (given === undefined) return otherwise;
  const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new UsageError(`--${option} is "${given}"; it is a whole number from ${min} to ${max}.`);
  }
  return value;
}

/** One of the allowed words, or undefined when the option is missing. */
export function oneOf<W extends string>(
  option: string,
  given: string | undefined,
  words: readonly W[],
): W | undefined {
  if (given === undefined) return undefined;
  const word = words.find((candidate) => candidate === given);
  if (word === undefined) throw new UsageError(`--${option} is "${given}"; it is ${words.join(" or ")}.`);
  return word;
}
