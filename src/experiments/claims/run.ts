import { type Claim, type Source, sources } from "./claim.ts";
import {
  type Check,
  type Outcome,
  type Outcomes,
  outcome,
  outcomes,
  type Verdict,
  verdict,
} from "./verdict.ts";

/** What became of a claim; of one that is not tested, only why. */
export interface Result {
  readonly id: string;
  readonly source: string;
  readonly statement: string;
  readonly verdict: Verdict | "not tested";
  readonly how?: string;
  readonly seed?: number;
  readonly seeds?: number;
  readonly checks?: readonly (Check & { readonly outcome: Outcome })[];
  /** Whether it comes out as stated, in the article's own setting, and under conditions. */
  readonly outcomes?: Outcomes;
  readonly seconds?: number;
  /** Why it is not tested here. */
  readonly later?: string;
  /** What would be measured. */
  readonly plan?: string;
}

export interface RunOptions {
  readonly seeds: number;
  /** Which repetitions: none is drawn under two seeds. Default 0. */
  readonly seed?: number;
  /** Called now and then with the tested claims done, all of them, and the one at work; may wait, and may throw. */
  readonly onProgress?: (done: number, total: number, what: string) => void | Promise<void>;
}

/** Tests claims on the default device, one after the other. */
export async function testClaims(
  claims: readonly Claim[],
  { seed = 0, seeds, onProgress }: RunOptions,
): Promise<Result[]> {
  const results: Result[] = [];
  const total = claims.filter((claim) => "test" in claim).length;
  let at = 0;
  for (const claim of claims) {
    const { id, statement } = claim;
    const shared = { id, source: sourceOf(claim), statement };
    await onProgress?.(at, total, id);
    if (!("test" in claim)) {
      results.push({ ...shared, verdict: "not tested", ...reasonOf(claim) });
      continue;
    }
    const started = performance.now();
    const checks = await claim.test({
      seed,
      seeds,
      onProgress: (share) => onProgress?.(at + share, total, id),
    });
    at++;
    const seconds = (performance.now() - started) / 1000;
    results.push(judgedClaim(claim, { how: claim.how, seed, seeds, seconds, checks }));
  }
  return results;
}

/** How a claim was tested, and what was measured. */
export interface Tested {
  readonly how: string;
  readonly seed: number;
  readonly seeds: number;
  readonly seconds: number;
  readonly checks: readonly Check[];
}

/** What became of a claim, by its checks. */
export function judgedClaim(claim: Claim, { checks, ...tested }: Tested): Result {
  return {
    id: claim.id,
    source: sourceOf(claim),
    statement: claim.statement,
    ...tested,
    checks: checks.map((check) => ({ ...check, outcome: outcome(check) })),
    outcomes: outcomes(checks),
    verdict: verdict(checks, "test" in claim ? claim : {}),
  };
}

/** Why a claim is not tested without a language model, and what would be measured. */
function reasonOf(claim: Exclude<Claim, { readonly test: unknown }>): {
  readonly later: string;
  readonly plan?: string;
} {
  if ("study" in claim)
    return {
      later: `It needs a language model: lorantz claims --models small, or lorantz reproduce ${claim.study}.`,
    };
  const { later, plan } = claim;
  return { later, ...(plan !== undefined && { plan }) };
}

/** The article of a claim. */
export function sourceOf({ id }: Pick<Claim, "id">): string {
  return sources[id.split("-")[0] as Source]; // ids begin with a source
}
