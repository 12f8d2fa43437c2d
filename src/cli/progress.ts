import { oneLine } from "../base/text.ts";

/** The part of a stream that progress is written to. */
export interface Screen {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Milliseconds between two lines of a log, and between two updates of a terminal's line. */
const pace = { log: 10_000, terminal: 100 };

/**
 * Says how far a job is: one line that is rewritten on a terminal, a line every ten seconds elsewhere.
 */
export class Progress {
  readonly #screen: Screen;
  readonly #now: () => number;
  readonly #start: number;
  #last = Number.NEGATIVE_INFINITY;
  #shown = false;

  constructor(screen: Screen, now: () => number = () => performance.now()) {
    this.#screen = screen;
    this.#now = now;
    this.#start = now();
  }

  /** `done` of `total` units of work, and what is being done. */
  update(done: number, total: number, what: string): void {
    const now = this.#now();
    if (now - this.#last < (this.#screen.isTTY ? pace.terminal : pace.log)) return;
    this.#last = now;
    const elapsed = (now - this.#start) / 1000;
    const share = total > 0 ? done / total : 0;
    const left = share > 0.02 ? `, ${duration((elapsed / share) * (1 - share))} left` : "";
    const percent = `${Math.floor(100 * share)}%`.padStart(4);
    if (!this.#screen.isTTY) {
      this.#screen.write(`${percent}  ${oneLine(what)} (${duration(elapsed)}${left})\n`);
      return;
    }
    const bar = "█".repeat(Math.round(20 * share)).padEnd(20, "░");
    const line = `${bar}${percent}  ${oneLine(what)} (${duration(elapsed)}${left})`;
    this.#screen.write(`\r\x1b[2K${line.slice(0, (this.#screen.columns ?? 80) - 1)}`);
    this.#shown = true;
  }

  /** Clears the line, so that what follows starts on a clean one. */
  end(): void {
    if (this.#shown) this.#screen.write("\r\x1b[2K");
    this.#shown = false;
  }
}

function duration(seconds: number): string {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
