import { type Claim, type Source, sources } from "./claim.ts";
import { type Check, type Outcome, outcome, type Verdict, verdict } from "./verdict.ts";

/** What became of a claim; of one for later, only why. */
export interface Result {
  readonly id: string;
  readonly source: string;
  readonly statement: string;
  readonly how?: string;
  readonly seeds?: number;
  readonly checks?: readonly (Check & { readonly outcome: Outcome })[];
  readonly verdict: Verdict | "for a later issue";
  /** Why it is not tested here. */
  readonly later?: string;
  readonly seconds?: number;
}

export interface RunOptions {
  readonly seeds: number;
  /** Called now and then with the tested claims done, all of them, and the one at work; may wait, and may throw. */
  readonly onProgress?: (done: number, total: number, what: string) => void | Promise<void>;
}

/** Tests claims on the default device, one after the other. */
export async function testClaims(
  claims: readonly Claim[],
  { seeds, onProgress }: RunOptions,
): Promise<Result[]> {
  const results: Result[] = [];
  const total = claims.filter((claim) => "test" in claim).length;
  let at = 0;
  for (const claim of claims) {
    const { id, statement } = claim;
    const shared = { id, source: sourceOf(claim), statement };
    await onProgress?.(at, total, id);
    if (!("test" in claim)) {
      results.push({ ...shared, verdict: "for a later issue", later: claim.later });
      continue;
    }
    const started = performance.now();
    const checks = await claim.test({
      seeds,
      onProgress: (share) => onProgress?.(at + share, total, id),
    });
    at++;
    results.push({
      ...shared,
      how: claim.how,
      seeds,
      checks: checks.map((check) => ({ ...check, outcome: outcome(check) })),
      verdict: verdict(checks),
      seconds: (performance.now() - started) / 1000,
    });
  }
  return results;
}

/** The article of a claim. */
export function sourceOf({ id }: Pick<Claim, "id">): string {
  return sources[id.split("-")[0] as Source]; // ids begin with a source
}
