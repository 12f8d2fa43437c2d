import { ValueError } from "./errors.ts";

// Regular expressions that come from outside (recipes, command lines) and are tried on every path of a model. That of
// the engine backtracks: `(a+)+b` takes twice as long for each letter more. Here every part of an expression is asked once
// for each place where it may end, so the work is bounded by the product of lengths, whatever the expression is.

/** Where a part may end if it begins at `at`: what is asked once is kept. */
type Part = (at: number) => ReadonlySet<number>;

/** A part of an expression, for one text. */
type Make = (text: string) => Part;

/** Longer expressions are no patterns of paths. */
const longest = 1000;

/**
 * Whether a regular expression of JavaScript is found in a text, in time bounded by the product of their lengths. What
 * it does not know is refused: back references, Unicode classes and sets (flags u and v with `\p`, `\u{...}`), more than
 * 1000 characters. Groups do not capture.
 *
 * @throws SyntaxError for what is no regular expression, ValueError for what is refused.
 */
export function matcher(source: string, flags = ""): (text: string) => boolean {
  new RegExp(source, flags); // says what is wrong
  if (source.length > longest)
    throw new ValueError(
      `pattern: the expression has ${source.length} characters; at most ${longest} are tried on a path.`,
    );
  const make = new Parser(source, flags).parse();
  return (text) => {
    const part = make(text);
    const last = flags.includes("y") ? 0 : text.length;
    for (let at = 0; at <= last; at++) if (part(at).size > 0) return true;
    return false;
  };
}

const known = new WeakMap<RegExp, (text: string) => boolean>();

/** Whether an expression is found in a text, by `matcher`; what an earlier search left in it does not matter. */
export function isFound(expression: RegExp, text: string): boolean {
  let test = known.get(expression);
  if (!test) {
    test = matcher(expression.source, expression.flags);
    known.set(expression, test);
  }
  return test(text);
}

class Parser {
  readonly #source: string;
  readonly #ignoreCase: boolean;
  readonly #lines: boolean;
  readonly #dotAll: boolean;
  #at = 0;

  constructor(source: string, flags: string) {
    this.#source = source;
    this.#ignoreCase = flags.includes("i");
    this.#lines = flags.includes("m");
    this.#dotAll = flags.includes("s");
  }

  parse(): Make {
    const make = this.#alternatives();
    if (this.#at < this.#source.length) this.#refuse();
    return make;
  }

  #refuse(): never {
    throw new ValueError(
      `pattern: ${JSON.stringify(this.#source.slice(this.#at))} of ${JSON.stringify(this.#source)} is not known here: patterns of paths have no back references and no Unicode classes.`,
    );
  }

  #take(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }

  #next(): string {
    return this.#source[this.#at++] ?? this.#refuse();
  }

  #alternatives(): Make {
    const options: Make[] = [];
    do {
      const parts: Make[] = [];
      while (this.#at < this.#source.length && !"|)".includes(this.#source[this.#at]!))
        parts.push(this.#quantified());
      options.push(sequence(parts));
    } while (this.#take("|"));
    return options.length === 1 ? options[0]! : anyOf(options);
  }

  #quantified(): Make {
    const make = this.#atom();
    const [least, most] = this.#quantifier() ?? [1, 1];
    this.#take("?"); // as few as possible: the same texts match
    return least === 1 && most === 1 ? make : repeated(make, least, most);
  }

  #quantifier(): readonly [least: number, most: number] | undefined {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    const counts = /^\{(\d+)(,(\d*))?\}/.exec(this.#source.slice(this.#at, this.#at + 40));
    if (!counts) return undefined; // a brace is a brace
    this.#at += counts[0].length;
    const least = Number(counts[1]);
    return [least, counts[2] === undefined ? least : counts[3] ? Number(counts[3]) : Infinity];
  }

  #atom(): Make {
    const character = this.#next();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return one(this.#set());
      case ".":
        return one(this.#dotAll ? () => true : (c) => !isLineEnd(c));
      case "^":
        return where((text, at) => at === 0 || (this.#lines && isLineEnd(text[at - 1]!)));
      case "$":
        return where((text, at) => at === text.length || (this.#lines && isLineEnd(text[at]!)));
      case "\\": {
        const within = this.#source[this.#at];
        if (within === "b" || within === "B") {
          this.#at++;
          return where((text, at) => (isWord(text[at - 1]) !== isWord(text[at])) === (within === "b"));
        }
        return one(this.#escape());
      }
      default:
        return one(this.#literal(character));
    }
  }

  #group(): Make {
    let make: (inner: Make) => Make = (inner) => inner;
    if (this.#take("?")) {
      if (this.#take("=")) make = (inner) => ahead(inner, true);
      else if (this.#take("!")) make = (inner) => ahead(inner, false);
      else if (this.#take("<=")) make = (inner) => behind(inner, true);
      else if (this.#take("<!")) make = (inner) => behind(inner, false);
      else if (this.#take("<")) while (this.#next() !== ">");
      else if (!this.#take(":")) this.#refuse();
    }
    const inner = this.#alternatives();
    if (!this.#take(")")) this.#refuse();
    return make(inner);
  }

  #set(): (c: string) => boolean {
    const negative = this.#take("^");
    const parts: ((c: string) => boolean)[] = [];
    while (!this.#take("]")) {
      const [low, test] = this.#inSet();
      const ranged = this.#source[this.#at] === "-" && this.#source[this.#at + 1] !== "]";
      if (!ranged) parts.push(test);
      else {
        this.#at++;
        const [high, other] = this.#inSet();
        // A range needs two characters; beside a class the dash is itself.
        if (low !== undefined && high !== undefined) parts.push(this.#folded((c) => c >= low && c <= high));
        else parts.push(test, other, this.#literal("-"));
      }
    }
    return (c) => parts.some((test) => test(c)) !== negative;
  }

  /** A character of a set, and its test; or a class of several. */
  #inSet(): readonly [character: string | undefined, test: (c: string) => boolean] {
    const character = this.#next();
    if (character !== "\\") return [character, this.#literal(character)];
    if (this.#take("b")) return ["\b", this.#literal("\b")];
    if (this.#take("-")) return ["-", this.#literal("-")];
    const from = this.#at;
    const test = this.#escape();
    const single = "dDsSwW".includes(this.#source[from]!) ? undefined : this.#escaped(from);
    return [single, test];
  }

  /** What stands behind a backslash. */
  #escape(): (c: string) => boolean {
    const from = this.#at;
    const letter = this.#next();
    switch (letter) {
      case "d":
        return isDigit;
      case "D":
        return (c) => !isDigit(c);
      case "s":
        return isSpace;
      case "S":
        return (c) => !isSpace(c);
      case "w":
        return isWord;
      case "W":
        return (c) => !isWord(c);
      default: {
        const character = this.#escaped(from);
        return this.#literal(character);
      }
    }
  }

  /** The one character of an escape whose letter is at `from`; the parser then stands behind it. */
  #escaped(from: number): string {
    const letter = this.#source[from]!;
    this.#at = from + 1;
    const controls: Readonly<Record<string, string>> = { t: "\t", n: "\n", r: "\r", f: "\f", v: "\v" };
    if (Object.hasOwn(controls, letter)) return controls[letter]!;
    const digits = /^(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4}))/.exec(this.#source.slice(from, from + 5));
    if (digits) {
      this.#at = from + digits[0].length;
      return String.fromCharCode(Number.parseInt(digits[1] ?? digits[2]!, 16));
    }
    if (letter === "0" && !isDigit(this.#source[from + 1] ?? "")) return "\0";
    if (/[0-9a-zA-Z]/.test(letter)) {
      this.#at = from - 1;
      this.#refuse();
    }
    return letter;
  }

  #literal(character: string): (c: string) => boolean {
    return this.#folded((c) => c === character);
  }

  #folded(test: (c: string) => boolean): (c: string) => boolean {
    return this.#ignoreCase ? (c) => test(c) || test(c.toLowerCase()) || test(c.toUpperCase()) : test;
  }
}

const isDigit = (c: string) => c >= "0" && c <= "9";
const isSpace = (c: string) => /\s/.test(c);
const isWord = (c: string | undefined) => c !== undefined && /\w/.test(c);
const isLineEnd = (c: string) => "\n\r\u2028\u2029".includes(c);

const nowhere: ReadonlySet<number> = new Set();

/** Asks a part once for each place. */
function kept(part: Part): Part {
  const known = new Map<number, ReadonlySet<number>>();
  return (at) => {
    let ends = known.get(at);
    if (!ends) {
      ends = part(at);
      known.set(at, ends);
    }
    return ends;
  };
}

function one(test: (c: string) => boolean): Make {
  return (text) => (at) => (at < text.length && test(text[at]!) ? new Set([at + 1]) : nowhere);
}

function where(test: (text: string, at: number) => boolean): Make {
  return (text) => (at) => (test(text, at) ? new Set([at]) : nowhere);
}

/** The ends of a part from any of some places. */
function from(part: Part, places: ReadonlySet<number>): Set<number> {
  const ends = new Set<number>();
  for (const at of places) for (const end of part(at)) ends.add(end);
  return ends;
}

function sequence(makes: readonly Make[]): Make {
  if (makes.length === 1) return makes[0]!;
  return (text) => {
    const parts = makes.map((make) => make(text));
    return kept((at) => parts.reduce<ReadonlySet<number>>((ends, part) => from(part, ends), new Set([at])));
  };
}

function anyOf(makes: readonly Make[]): Make {
  return (text) => {
    const parts = makes.map((make) => make(text));
    return kept((at) => new Set(parts.flatMap((part) => [...part(at)])));
  };
}

function repeated(make: Make, least: number, most: number): Make {
  return (text) => {
    const part = make(text);
    return kept((at) => {
      let ends: Set<number> = new Set([at]);
      for (let i = 0; i < least; i++) {
        const next = from(part, ends);
        // Nothing moves any more, or nothing is left.
        if (next.size === ends.size && [...next].every((end) => ends.has(end))) break;
        ends = next;
      }
      const all = new Set(ends);
      for (let i = least; i < most && ends.size > 0; i++) {
        ends = new Set([...from(part, ends)].filter((end) => !all.has(end)));
        for (const end of ends) all.add(end);
      }
      return all;
    });
  };
}

function ahead(make: Make, wanted: boolean): Make {
  return (text) => {
    const part = make(text);
    return kept((at) => (part(at).size > 0 === wanted ? new Set([at]) : nowhere));
  };
}

function behind(make: Make, wanted: boolean): Make {
  return (text) => {
    const part = make(text);
    return kept((at) => {
      let found = false;
      for (let start = at; start >= 0 && !found; start--) found = part(start).has(at);
      return found === wanted ? new Set([at]) : nowhere;
    });
  };
}
