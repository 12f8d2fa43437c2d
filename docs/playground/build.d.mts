import type { Verdict } from "./verdicts.ts";

export function verdicts(): Readonly<Record<string, Verdict>>;
export function buildPlayground(outDir: string): Promise<unknown>;
