// The claims and their verdicts, from the table of docs/claims.md, when the site is built.

export interface Verdict {
  readonly claim: string;
  readonly verdict: string;
}

declare const LORANTZ_VERDICTS: Readonly<Record<string, Verdict>>;

export const verdicts: Readonly<Record<string, Verdict>> =
  typeof LORANTZ_VERDICTS === "undefined" ? {} : LORANTZ_VERDICTS;
