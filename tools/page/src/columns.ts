// A tall frame goes on in another column.

/** How many sections each column has, of sections of these heights (with the gap below each). `spans` are pairs of
 * sections that a wire connects that leads past others: no column ends between them. */
export function columns(heights: number[], spans: [number, number][], tallest: number): number[] {
  const whole = [heights.length], total = heights.reduce((sum, height) => sum + height, 0);
  const count = Math.round(total / tallest);
  if (!(count > 1)) return whole;
  const barred = new Int32Array(heights.length + 1);
  for (const [a, b] of spans) {
    if (a === b) continue;
    barred[Math.min(a, b) + 1]++;
    barred[Math.max(a, b) + 1]--;
  }
  for (let at = 1; at <= heights.length; at++) barred[at] += barred[at - 1];
  const high = least(heights, barred, total, count), fewer = least(heights, barred, total, count - 1);
  // No column for the sake of a few parts at the end.
  const chosen = fewer < 1.3 * high ? fewer : high;
  return chosen > 0.8 * total ? whole : fill(heights, barred, chosen);
}

/** Columns of at most this height, where they can end. */
function fill(heights: number[], barred: Int32Array, limit: number): number[] {
  const found: number[] = [];
  let start = 0, end = 0, high = 0, ending = 0;
  heights.forEach((height, at) => {
    if (barred[at] === 0 && at > start) { end = at; ending = high; }
    high += height;
    if (high > limit && end > start) { found.push(end - start); high -= ending; start = end; ending = 0; }
  });
  return [...found, heights.length - start];
}

/** The least height that so many columns can have. */
function least(heights: number[], barred: Int32Array, total: number, most: number): number {
  let low = total / most, high = total;
  for (let step = 0; step < 24; step++) {
    const middle = (low + high) / 2, found = fill(heights, barred, middle);
    if (found.length <= most && highest(heights, found) <= middle) high = middle;
    else low = middle;
  }
  return high;
}

function highest(heights: number[], held: number[]): number {
  let at = 0;
  return Math.max(...held.map((count) => {
    const end = at + count;
    let sum = 0;
    while (at < end) sum += heights[at++];
    return sum;
  }));
}
