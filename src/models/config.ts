import { isIntegerIn, isNothing, isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";

/**
 * A config.json that is being read. It remembers which fields were asked for, so that one which nobody knows, and which may
 * change what the model computes, is refused rather than left out in silence.
 */
export class Config {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #asked = new Set<string>();
  readonly #place: string;

  constructor(values: unknown, place = "config.json") {
    if (!isPlainObject(values))
      throw new ValueError(`${place}: is ${show(values)}; a configuration is an object with a model_type.`);
    this.#values = values;
    this.#place = place;
  }

  /** Whether the field is there and not null. */
  has(name: string): boolean {
    this.#asked.add(name);
    return this.#values[name] !== undefined && this.#values[name] !== null;
  }

  /** A number that is not negative: no field of those that are read may be. */
  number(name: string, otherwise?: number): number {
    if (!this.has(name) && otherwise !== undefined) return otherwise;
    const value = this.#values[name];
    return typeof value === "number" && value >= 0 && value < Infinity
      ? value
      : this.#fail(name, "a finite number >= 0");
  }

  /** A number that something is divided by, or a power or logarithm is of. */
  positive(name: string, otherwise?: number): number {
    const value = this.number(name, otherwise);
    return value > 0 ? value : this.#fail(name, "a finite number > 0");
  }

  /** A length or a count: of an axis, unless there can be no more than `most`. */
  size(name: string, otherwise?: number, most = 2 ** 31 - 1): number {
    const value = this.number(name, otherwise);
    return isIntegerIn(value, 1, most) ? value : this.#fail(name, `an integer from 1 to ${most}`);
  }

  /**
   * A number above 0, or undefined where the field is null: that is none. One that is left out of the file is `otherwise`.
   */
  maybe(name: string, otherwise?: number): number | undefined {
    return this.#unlessNull(name, otherwise) && this.positive(name, otherwise);
  }

  /** The same of a length. */
  maybeSize(name: string, otherwise?: number): number | undefined {
    return this.#unlessNull(name, otherwise) && this.size(name, otherwise);
  }

  #unlessNull(name: string, otherwise: number | undefined): true | undefined {
    const there = this.has(name) || (otherwise !== undefined && this.#values[name] === undefined);
    return there || undefined;
  }

  flag(name: string, otherwise: boolean): boolean {
    if (!this.has(name)) return otherwise;
    const value = this.#values[name];
    return typeof value === "boolean" ? value : this.#fail(name, "true or false");
  }

  text(name: string, otherwise?: string): string {
    if (!this.has(name) && otherwise !== undefined) return otherwise;
    const value = this.#values[name];
    return typeof value === "string" ? value : this.#fail(name, "a string");
  }

  texts(name: string): readonly string[] {
    return this.#list(name, "a list of strings", (value): value is string => typeof value === "string");
  }

  numbers(name: string): readonly number[] {
    return this.#list(name, "a list of numbers", (value): value is number => Number.isFinite(value));
  }

  object(name: string): Config {
    this.has(name);
    return new Config(this.#values[name], `${this.#place}: ${name}`);
  }

  /** The text of a field that may be written in several ways. */
  show(name: string): string {
    return show(this.#values[name]);
  }

  /** Refuses a field with any other value than the one that is implemented. */
  only(name: string, value: unknown): void {
    if (this.has(name) && this.#values[name] !== value) this.refuse(name, `expected ${show(value)}`);
  }

  /** Refuses a value that is not implemented. */
  refuse(name: string, why: string): never {
    throw new ValueError(
      `${this.#place}: ${name} is ${this.show(name)}; ${why}, and that is not implemented.`,
    );
  }

  /**
   * Checks that no field is left that was not asked for; null, false and what is empty turn off what they name.
   *
   * @param without Names of fields that do not change what is computed.
   */
  finish(without: (name: string) => boolean): void {
    const left = Object.keys(this.#values).filter(
      (name) => !this.#asked.has(name) && !isNothing(this.#values[name]) && !without(name),
    );
    if (left.length > 0)
      throw new ValueError(
        `${this.#place}: ${left.map((name) => `${name} (${this.show(name)})`).join(", ")} ${left.length === 1 ? "is a field" : "are fields"} that Lorantz does not know for a ${this.text("model_type", "model")}, and may change what it computes. Take out of the configuration what does not, and load it as an object.`,
      );
  }

  #list<T>(name: string, expected: string, is: (value: unknown) => value is T): readonly T[] {
    this.has(name);
    const value = this.#values[name];
    return Array.isArray(value) && value.every(is) ? value : this.#fail(name, expected);
  }

  #fail(name: string, expected: string): never {
    const value = this.#values[name];
    throw new ValueError(
      `${this.#place}: ${name} is ${value === undefined ? "missing" : show(value)}; expected ${expected}.`,
    );
  }
}
