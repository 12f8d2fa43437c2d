import { ownerOf } from "./numbers.ts";

/** The name of the power of a slot among the unknowns; hyperparameters go by their own names. */
export const slotUnknown = (slot: string) => `state ${slot}`;

/** The powers to find: one for each slot, and for each hyperparameter one in all or one in each update. */
export class Unknowns {
  readonly slots: readonly string[];
  /** Names of hyperparameters. Where powers may be traded for one another, the last ones are left at 0. */
  readonly hyper: readonly string[];
  readonly updates: number;
  readonly #perUpdate: readonly string[];

  constructor(
    slots: readonly string[],
    hyper: readonly string[],
    updates: number,
    perUpdate: readonly string[],
  ) {
    this.slots = slots;
    this.hyper = hyper;
    this.updates = updates;
    this.#perUpdate = perUpdate;
  }

  /** Whether the power of a hyperparameter may differ from update to update. */
  varies(name: string): boolean {
    return this.#perUpdate.includes(ownerOf(name));
  }

  /** The unknown of a hyperparameter in update t, from 1. */
  at(name: string, t: number): string {
    return this.varies(name) ? `${name} in update ${t}` : name;
  }

  /** All unknowns of a hyperparameter. */
  of(name: string): readonly string[] {
    return this.varies(name) ? Array.from({ length: this.updates }, (_, i) => this.at(name, i + 1)) : [name];
  }

  /** All unknowns, in the order in which they are solved for. */
  get names(): readonly string[] {
    return [...this.slots.map(slotUnknown), ...this.hyper.flatMap((name) => this.of(name))];
  }
}
