// Numbers as netdsl/analysis/notation.py writes them: `4.09 G`, `97.5 MiB`, `25,557,032`.

import type { Cost } from "./model";

export function grouped(number: number | null): string {
  return number === null ? "?" : number.toLocaleString("en-US");
}

export function scaled(number: number | null): string {
  if (number === null) return "?";
  let value = number, prefix = 0;
  while (value >= 999.5 && prefix < 5) { value /= 1000; prefix++; }
  return prefix === 0 ? `${number}` : `${threeDigits(value)} ${" KMGTP"[prefix]}`;
}

export function bytes(number: number | null): string {
  if (number === null) return "?";
  let value = number, prefix = 0;
  while (value >= 1023.5 && prefix < 4) { value /= 1024; prefix++; }
  return prefix === 0 ? `${number} B` : `${threeDigits(value)} ${["", "KiB", "MiB", "GiB", "TiB"][prefix]}`;
}

export function costText(cost: Cost, number: number | null): string {
  return cost === "memory" ? bytes(number) : scaled(number);
}

export function percent(share: number): string {
  const value = share * 100;
  return value === 0 ? "0 %" : value < 0.1 ? "< 0.1 %" : `${value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}

function threeDigits(value: number): string {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}
