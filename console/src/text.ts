// Text that others wrote: shown as text only, bounded, and with nothing in it that a reader does not see.

/** The longest name or id that is shown on one line. */
export const MAX_LINE = 255;
/** The longest text of any other kind. Whatever a person decides on is shorter. */
export const MAX_TEXT = 8000;

// Controls, format characters (bidi among them), what has no glyph, and what is drawn as nothing or as a blank.
const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0]|\p{Variation_Selector}|\u034f/gu;

/** `value` as one visible line of at most `limit` characters. Not a text: an empty one. */
export function plain(value: unknown, limit = MAX_LINE): string {
  const text = typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
  // Cut first, so that no length costs time; generously, because hidden characters do not count.
  const line = text
    .slice(0, limit * 4)
    .replace(/[\s\p{Z}]+/gu, " ")
    .replace(HIDDEN, "")
    .trim();
  const characters = Array.from(line);
  return characters.length > limit || text.length > limit * 4 ? `${characters.slice(0, limit - 1).join("")}…` : line;
}

/** JSON for people: indented and bounded. */
export function json(value: unknown, limit = MAX_TEXT): string {
  const lines = JSON.stringify(value, null, 2)?.split("\n") ?? [];
  const text = lines.map((line) => line.replace(HIDDEN, "")).join("\n");
  return text.length > limit ? `${text.slice(0, limit)}\n…` : text;
}

const DAY = 86_400_000;

/** A moment of the API as a day and how long ago that is: `2026-11-21 · 3 days ago`. `never` stays. */
export function day(moment: string, now: number): string {
  const date = moment.slice(0, 10);
  const then = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(then)) return plain(moment, 40);
  const days = Math.floor(now / DAY) - Math.floor(then / DAY);
  if (days < 0) return date;
  return `${date} · ${days === 0 ? "today" : days === 1 ? "yesterday" : `${days} days ago`}`;
}

/** A moment to the second, in UTC: `2026-11-21 08:30:05`. */
export function second(moment: string): string {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(moment) ? moment.slice(0, 19).replace("T", " ") : plain(moment, 40);
}

/** Seconds as a clock: `14:05`. */
export function clock(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

/** Seconds in words, for a reader who hears them: `14 minutes 5 seconds`. */
export function spoken(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds));
  const [minutes, rest] = [Math.floor(left / 60), left % 60];
  const parts = [minutes && count(minutes, "minute"), (rest || !minutes) && count(rest, "second")];
  return parts.filter(Boolean).join(" ");
}

export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
