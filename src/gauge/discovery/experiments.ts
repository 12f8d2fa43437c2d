import type { Numbers } from "./numbers.ts";
import type { Scenario } from "./problems.ts";
import type { Run, Subject } from "./subject.ts";
import { type Powers, type Verdict, verify } from "./verify.ts";

/** An optimizer with given numbers in every scenario; what is asked again is not run again. */
export class Experiments {
  readonly subject: Subject;
  readonly numbers: Numbers;
  readonly scenarios: readonly Scenario[];
  readonly #runs = new Map<Scenario, Promise<Run>>();
  #couples: Promise<boolean> | undefined;

  constructor(subject: Subject, numbers: Numbers, scenarios: readonly Scenario[]) {
    this.subject = subject;
    this.numbers = numbers;
    this.scenarios = scenarios;
  }

  run(scenario: Scenario): Promise<Run> {
    const known = this.#runs.get(scenario);
    if (known) return known;
    const run = this.subject.run(scenario.problem, () => this.numbers);
    this.#runs.set(scenario, run);
    return run;
  }

  /** Whether the update of a tensor depends on others that are trained with it. */
  couples(): Promise<boolean> {
    this.#couples ??= this.subject.couples(this.scenarios[0]!.problem, this.numbers);
    return this.#couples;
  }

  /** Compares the run of a scenario with its partner at c. */
  async verify(scenario: Scenario, powers: Powers, c: number): Promise<Verdict> {
    return verify(this.subject, this.numbers, scenario.problem, await this.run(scenario), powers, c);
  }
}
