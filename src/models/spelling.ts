/** The text of tokens as they come, up to a text that ends it. */
export interface Spelling {
  /** What a token adds that is sure to stay, and whether a text that ends it is reached. */
  add(token: number): { readonly text: string; readonly stopped: boolean };
  /** What was held back. */
  rest(): string;
}

/**
 * Spells tokens behind a prompt. Bytes that are no whole character yet, and what may become a text that ends it, are held
 * back.
 */
export function spelling(
  prompt: readonly number[],
  decode: (ids: readonly number[]) => string,
  stops: readonly string[],
): Spelling {
  const ids: number[] = [];
  const before = decode(prompt);
  let given = 0;
  let ended: string | undefined;
  const whole = () => {
    if (ended !== undefined) return ended;
    const all = decode([...prompt, ...ids]);
    return all.startsWith(before) ? all.slice(before.length) : decode(ids);
  };
  const give = (until: number) => {
    const text = whole().slice(given, until);
    given = Math.max(given, until);
    return text;
  };
  return {
    add(token) {
      ids.push(token);
      const text = whole();
      const at = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
      if (at.length > 0) {
        ended = text.slice(0, Math.min(...at));
        return { text: give(ended.length), stopped: true };
      }
      return { text: give(sure(text, stops)), stopped: false };
    },
    rest: () => give(whole().length),
  };
}

/** How much of a text cannot become another one: not a last broken character, nor the beginning of a text that ends it. */
function sure(text: string, stops: readonly string[]): number {
  const broken = /\uFFFD+$/.exec(text);
  const end = broken ? broken.index : text.length;
  const longest = Math.max(0, ...stops.map((stop) => stop.length - 1));
  for (let length = Math.min(longest, end); length > 0; length--) {
    const tail = text.slice(end - length, end);
    if (stops.some((stop) => stop.startsWith(tail))) return end - length;
  }
  return end;
}
